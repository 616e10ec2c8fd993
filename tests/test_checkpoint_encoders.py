"""A checkpoint that names published encoders: random small ones, laid out as Wan 2.2 is in diffusers' form."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tau0.checkpoint import AUTOENCODER_NAME, CONFIG_NAME, Checkpoint, CheckpointConfig, CheckpointError, build, load, save
from tau0.contract import Observation
from tau0.encode import ObservationEncoder, latents_to_frames
from tau0.model.encoder_folder import EncoderFolderError
from tau0.model.encoders import CACHE_VARIABLE, FOLDER_VARIABLE, PublishedEncoders
from tiny import tiny_checkpoint, tiny_config

autoencoder_kl_wan = pytest.importorskip("diffusers.models.autoencoders.autoencoder_kl_wan")
umt5 = pytest.importorskip("transformers.models.umt5.modeling_umt5")

WIDTH, LETTERS = 16, "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wan")
    torch.manual_seed(0)
    autoencoder_kl_wan.AutoencoderKLWan(
        base_dim=4, z_dim=6, dim_mult=[1, 1, 1], num_res_blocks=1, is_residual=True, temperal_downsample=[True, True], in_channels=12,
        out_channels=12, patch_size=2, latents_mean=[0.1] * 6, latents_std=[2.0] * 6,
    ).save_pretrained(path / "vae")  # fmt: skip
    config = umt5.UMT5Config(vocab_size=3 + len(LETTERS) + 1, d_model=WIDTH, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    umt5.UMT5EncoderModel(config).save_pretrained(path / "text_encoder")
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -2.0) for letter in f"{LETTERS}▁")]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    (path / "tokenizer").mkdir()
    tokenizer.save(str(path / "tokenizer" / "tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def published(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PublishedEncoders:
    return PublishedEncoders(folder=folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def config(published: PublishedEncoders) -> CheckpointConfig:
    own = tiny_config()
    trunk = replace(own.model.trunk, text_width=WIDTH, text_length=24)
    autoencoder, text = published.describe(trunk.text_length)
    return replace(own, model=replace(own.model, trunk=trunk), autoencoder=autoencoder, text=text)


@pytest.fixture(scope="module")
def saved(config: CheckpointConfig, published: PublishedEncoders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "published"
    save(build(config, published), path)
    return path


def observe(checkpoint: Checkpoint, instruction: str = "open the drawer") -> torch.Tensor:
    conditioning = ObservationEncoder(checkpoint).encode(replace(Observation.fake(checkpoint.config.embodiment), instruction=instruction))
    assert conditioning.current.shape == (1, 6, 1, 4, 8)
    frames = latents_to_frames(checkpoint, conditioning.current)
    assert frames.shape == (1, 2, 1, 32, 32, 3)
    future = torch.randn(3, 6, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    video = latents_to_frames(checkpoint, torch.cat([conditioning.current.expand(3, -1, -1, -1, -1), future], dim=2))
    assert np.array_equal(latents_to_frames(checkpoint, future, conditioning.current), video[:, :, 1:])
    assert video.shape == (3, 2, 9, 32, 32, 3)
    return torch.cat([conditioning.current.flatten(), conditioning.text.flatten()])


def test_it_carries_their_names_and_not_their_weights(saved: Path, config: CheckpointConfig, published: PublishedEncoders) -> None:
    assert not (saved / AUTOENCODER_NAME).exists()
    again = load(saved, published)
    assert again.config == config
    assert torch.equal(observe(again), observe(load(saved, published)))
    assert str(published.folder) not in (saved / CONFIG_NAME).read_text()


def test_the_environment_says_where_they_are(saved: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(CheckpointError, match=rf"does not carry the Wan video autoencoder \w+: set {FOLDER_VARIABLE} to the folder of"):
        load(saved)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    observe(load(saved))
    assert len(list((tmp_path / "cache" / "text").glob("*.safetensors"))) == 1


def test_a_machine_that_knows_the_text_needs_no_text_encoder(saved: Path, folder: Path, tmp_path: Path) -> None:
    cache, without = tmp_path / "cache", tmp_path / "wan"
    shutil.copytree(folder / "vae", without / "vae")
    known = observe(load(saved, PublishedEncoders(folder=folder, cache=cache)))
    robot = load(saved, PublishedEncoders(folder=without, cache=cache))
    assert torch.equal(observe(robot), known)
    with pytest.raises(
        EncoderFolderError, match=r"features of 'push' are not in the cache, and the text encoder 'umt5@\w+ .*' is not here"
    ):
        observe(robot, "push")


def test_others_are_refused(saved: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "wan"
    shutil.copytree(folder, other)
    tokenizer = other / "tokenizer" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(CheckpointError, match=r"text encoder is 'umt5@\w+ .*' \(.*wan\), the checkpoint was trained with 'umt5@"):
        load(saved, PublishedEncoders(folder=other))
    shutil.rmtree(other / "text_encoder")
    vae = other / "vae" / "config.json"
    vae.write_text(json.dumps({**json.loads(vae.read_text()), "latents_std": [1.0] * 6}))
    with pytest.raises(CheckpointError, match="is not the Wan video autoencoder that the checkpoint was trained with"):
        load(saved, PublishedEncoders(folder=other))


@pytest.mark.parametrize(
    ("autoencoder", "message"),
    [
        ({"kind": "wan", "identity": "0" * 16}, r"autoencoder\.wan\.latent_channels: Field required"),
        (
            {"kind": "wan", "identity": "0", "latent_channels": 6, "stride": [4, 16, 16], "path": "/"},
            r"unknown fields \['autoencoder\.path'\]",
        ),
        ({"latent_channels": 6, "stride": "x"}, r"autoencoder\.own\.stride: Input should be a valid integer.*, got 'x'$"),
        ({"kind": "other", "latent_channels": 6}, r"autoencoder\.wan\.kind: Input should be 'wan'"),
    ],
)
def test_a_config_that_does_not_fit(saved: Path, tmp_path: Path, autoencoder: dict[str, object], message: str) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    path = tmp_path / "copy" / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "autoencoder": autoencoder}))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "copy")


def test_our_own_encoders_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "not there"))
    save(tiny_checkpoint(), tmp_path / "tiny")
    assert load(tmp_path / "tiny").config == tiny_config()
    with pytest.raises(EncoderFolderError, match="a checkpoint does not carry these encoders"):
        PublishedEncoders().describe(16)
