"""The published autoencoder through diffusers: small random instances of the very class, saved, loaded by us, and compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tau0.model.encoder_folder import EncoderFolderError
from tau0.model.wan_vae import WanAutoencoder, load_wan_autoencoder, wan_autoencoder_config

wan = pytest.importorskip("diffusers.models.autoencoders.autoencoder_kl_wan")

WEIGHTS = "diffusion_pytorch_model.safetensors"
SMALL: dict[str, Any] = {
    "base_dim": 8, "decoder_base_dim": 12, "z_dim": 6, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1, "is_residual": True,
    "temperal_downsample": [False, True, True], "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16,
    "scale_factor_temporal": 4, "latents_mean": [0.1, -0.2, 0.3, 0.0, 0.5, -0.4], "latents_std": [0.5, 1.5, 2.0, 0.7, 1.0, 0.9],
}  # fmt: skip


def vae(seed: int = 0, **changes: object) -> Any:
    torch.manual_seed(seed)
    return wan.AutoencoderKLWan(**{**SMALL, **changes}).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wan") / "vae"
    vae().save_pretrained(path)
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for name in ("config.json", WEIGHTS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def ours(folder: Path) -> WanAutoencoder:
    return load_wan_autoencoder(folder)


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@torch.no_grad()
def test_both_directions_equal_diffusers_own(folder: Path, ours: WanAutoencoder) -> None:
    theirs = wan.AutoencoderKLWan.from_pretrained(folder, local_files_only=True).eval()
    video = torch.rand(2, 3, 9, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, std = (torch.tensor(SMALL[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    raw = theirs.encode(video).latent_dist.mean
    latents = ours.encode(video)
    assert latents.shape == (2, 6, 3, 2, 3)
    torch.testing.assert_close(latents, (raw - mean) / std, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(raw).sample, rtol=0, atol=1e-5)
    assert (ours.stride, ours.latent_channels) == ((4, 16, 16), 6)


@torch.no_grad()
def test_the_first_latent_frame_is_the_first_picture_alone(ours: WanAutoencoder) -> None:
    video = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    torch.testing.assert_close(ours.encode(video)[:, :, :1], ours.encode(video[:, :, :1]), rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_autoencoder_of_wan_2_1_loads_too(tmp_path: Path) -> None:
    vae(is_residual=False, decoder_base_dim=None, in_channels=3, out_channels=3, patch_size=None).save_pretrained(tmp_path)
    network = load_wan_autoencoder(tmp_path)
    assert network.stride == (4, 8, 8)
    assert network.encode(torch.zeros(1, 3, 5, 16, 16)).shape == (1, 6, 2, 2, 2)


@pytest.mark.parametrize(
    ("shape", "message"), [((4, 32, 32), "takes 1 \\+ 4 n frames, got 4"), ((1, 40, 32), "16 x 16 pixels, got 40 x 32")]
)
def test_a_video_that_does_not_fit(ours: WanAutoencoder, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours.encode(torch.zeros(1, 3, *shape))


def test_it_is_frozen_and_stays_in_evaluation_mode(ours: WanAutoencoder) -> None:
    ours.train()
    assert not any(module.training for module in ours.modules())
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in ours.parameters())


def test_identity_is_of_weights_and_statistics_not_of_files(folder: Path, copy: Path) -> None:
    config = wan_autoencoder_config(folder)
    assert (config.latent_channels, config.stride, config.kind) == (6, (4, 16, 16), "wan")
    change_config(copy, _name_or_path="elsewhere", _diffusers_version="0.0.1")
    assert wan_autoencoder_config(copy) == config
    tensors = load_file(copy / WEIGHTS)
    halves = list(tensors)[::2], list(tensors)[1::2]
    for i, names in enumerate(halves):
        save_file({name: tensors[name] for name in names}, copy / f"part-{i}.safetensors")
    index = {"weight_map": {name: f"part-{i}.safetensors" for i, names in enumerate(halves) for name in names}}
    (copy / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert wan_autoencoder_config(copy) == config
    assert load_wan_autoencoder(copy, config).config == config
    change_config(copy, latents_mean=[0.0] * 6)
    assert wan_autoencoder_config(copy).identity != config.identity


def test_other_weights_are_refused(copy: Path) -> None:
    config = wan_autoencoder_config(copy)
    tensors = load_file(copy / WEIGHTS)
    name = next(name for name, tensor in tensors.items() if tensor.dim() > 3)
    tensors[name] += 1e-3
    save_file(tensors, copy / WEIGHTS)
    with pytest.raises(EncoderFolderError, match=rf"not the Wan video autoencoder that .*: expected identity {config.identity}, got "):
        load_wan_autoencoder(copy, config)


def test_what_a_folder_lacks_is_named(folder: Path, copy: Path) -> None:
    with pytest.raises(EncoderFolderError, match=r"there is no folder .*vea .* \(did you mean vae\?\)"):
        load_wan_autoencoder(folder.with_name("vea"))
    tensors = load_file(copy / WEIGHTS)
    save_file({("x" if name == "conv_in.weight" else name): tensors[name] for name in list(tensors)[1:]}, copy / WEIGHTS)
    with pytest.raises(EncoderFolderError, match=f"does not hold this network:\n  missing {next(iter(tensors))}"):
        load_wan_autoencoder(copy)
    (copy / WEIGHTS).write_bytes(b"short")
    with pytest.raises(EncoderFolderError, match="cannot be read"):
        load_wan_autoencoder(copy)
    (copy / WEIGHTS).rename(copy / "diffusion_pytorch_model.bin")
    with pytest.raises(EncoderFolderError, match=rf"lacks {WEIGHTS} .* it has diffusion_pytorch_model.bin. Pickled weights are not read"):
        load_wan_autoencoder(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "AutoencoderKL"}, "holds a AutoencoderKL, not an AutoencoderKLWan"),
        ({"latents_std": [1.0]}, "latents_std has 1 numbers for 6 latent channels"),
        ({"temperal_downsample": [False, False, True]}, "shrinks time by 4, this one by 2"),
        ({"z_dim": "many"}, "z_dim: Input should be a valid integer"),
    ],
)
def test_a_config_that_does_not_fit(copy: Path, changes: dict[str, object], message: str) -> None:
    change_config(copy, **changes)
    with pytest.raises(EncoderFolderError, match=message):
        load_wan_autoencoder(copy)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_reads_nothing_outside_its_folder(copy: Path, name: str) -> None:
    (copy / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"conv_in.weight": name}}))
    with pytest.raises(EncoderFolderError, match="not a safetensors file in its own folder"):
        load_wan_autoencoder(copy)


def test_without_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, wan.__name__, None)
    with pytest.raises(ModuleNotFoundError, match=r"needs diffusers, which is not installed: pip install 'tau0-wm\[wan\]'"):
        load_wan_autoencoder(folder)
