"""The trunk against an implementation that shares no line with it: diffusers' Wan 2.2 transformer, on the same random weights."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tau0.model.config import TrunkConfig
from tau0.model.diffusers_names import diffusers_name, from_diffusers, our_name, to_diffusers
from tau0.model.trunk import Trunk
from tau0.model.weights import WeightsError, load_exactly

transformer_wan = pytest.importorskip("diffusers.models.transformers.transformer_wan")


def config(**changes: object) -> TrunkConfig:
    """A small trunk; `changes` name what differs."""
    small = TrunkConfig(
        width=48, ffn_width=96, num_heads=2, num_layers=2, latent_channels=4, text_width=20, text_length=7, frequency_width=32
    )
    return replace(small, **changes)  # pyright: ignore[reportArgumentType]


def theirs(trunk: TrunkConfig, seed: int = 0) -> torch.nn.Module:
    """diffusers' model of that shape with every parameter random, so that nothing can hide behind a zero or a one."""
    model = transformer_wan.WanTransformer3DModel(
        patch_size=trunk.patch,
        num_attention_heads=trunk.num_heads,
        attention_head_dim=trunk.width // trunk.num_heads,
        in_channels=trunk.latent_channels,
        out_channels=trunk.latent_channels,
        text_dim=trunk.text_width,
        freq_dim=trunk.frequency_width,
        ffn_dim=trunk.ffn_width,
        num_layers=trunk.num_layers,
        eps=trunk.eps,
        rope_max_seq_len=64,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            spread = 1.5 / math.sqrt(parameter[0].numel()) if parameter.dim() > 1 and "table" not in name else 0.3
            parameter.copy_(offset + spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def ours(trunk: TrunkConfig, model: torch.nn.Module) -> Trunk:
    """Our trunk with the same weights."""
    network = Trunk(trunk)
    tensors = {name.removeprefix("trunk."): tensor for name, tensor in from_diffusers(model.state_dict()).items()}
    load_exactly(network, tensors, "diffusers")
    return network.eval()


def inputs(trunk: TrunkConfig, batch: int, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, a timestep a frame (the first ones clean, each sample's own level) and text shorter than its full length."""
    generator = torch.Generator().manual_seed(1)
    shape = [n * p for n, p in zip(grid, trunk.patch, strict=True)]
    latents = torch.randn(batch, trunk.latent_channels, *shape, generator=generator)
    level = 1000 * torch.rand(batch, 1, generator=generator)
    timestep = torch.where(torch.arange(shape[0]) < trunk.patch[0], 0.0, level)
    return latents, timestep, torch.randn(batch, trunk.text_length - 3, trunk.text_width, generator=generator)


SIZES = {
    "published proportions": (config(width=256, ffn_width=1024, latent_channels=48, frequency_width=256), 1, (3, 2, 6)),
    "many frames and samples": (config(), 3, (5, 3, 4)),
    "uneven rotary split": (config(width=40, num_heads=4, num_layers=3), 2, (2, 4, 2)),
    "patches in time": (config(patch=(2, 1, 2)), 2, (2, 3, 3)),
    "one frame": (config(num_layers=1, eps=1e-5), 1, (1, 2, 2)),
}


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_same_output_as_diffusers(size: str) -> None:
    trunk, batch, grid = SIZES[size]
    model = theirs(trunk)
    latents, timestep, text = inputs(trunk, batch, grid)
    per_token = timestep[:, :: trunk.patch[0]].repeat_interleave(grid[1] * grid[2], dim=1)
    padded = torch.nn.functional.pad(text, (0, 0, 0, trunk.text_length - text.shape[1]))
    expected = model(latents, per_token, padded).sample
    velocity = ours(trunk, model)(latents, timestep, text).velocity
    assert expected.std() > 0.1
    assert (velocity - expected).abs().max() <= 1e-4 * expected.abs().max()


@torch.no_grad()
def test_what_each_input_does_is_compared() -> None:
    """Text, levels and the order of frames all change the output: agreement above is not that of two constants."""
    trunk = config()
    network = ours(trunk, theirs(trunk))
    latents, timestep, text = inputs(trunk, 1, (3, 2, 2))
    base = network(latents, timestep, text).velocity
    for changed in (
        network(latents, timestep + 300, text).velocity,
        network(latents, timestep, text.flip(1) * 2).velocity,
        network(latents.flip(2), timestep, text).velocity.flip(2),
    ):
        assert (changed - base).abs().max() > 1e-2 * base.abs().max()


def test_every_name_goes_there_and_back() -> None:
    trunk = config()
    weights = theirs(trunk).state_dict()
    assert all(diffusers_name(our_name(name)) == name for name in weights)
    back = to_diffusers(from_diffusers(weights))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_fused_weights_are_the_same_weights() -> None:
    model = theirs(config())
    separate = from_diffusers(model.state_dict())
    for block in model.blocks:  # pyright: ignore[reportGeneralTypeIssues]
        block.attn1.fuse_projections()
    fused = {name: tensor for name, tensor in model.state_dict().items() if not any(f"attn1.to_{p}." in name for p in "qkv")}
    assert all(torch.equal(tensor, separate[name]) for name, tensor in from_diffusers(fused).items())
    assert from_diffusers(fused).keys() == separate.keys()


def test_a_name_that_is_not_the_trunks() -> None:
    with pytest.raises(WeightsError, match=r"blocks.3.attn1.to_x.weight is no parameter of the trunk \(did you mean blocks.3.attn1.to_"):
        our_name("blocks.3.attn1.to_x.weight")
    with pytest.raises(WeightsError, match=r"no part of the trunk"):
        diffusers_name("action_expert.proj_in.weight")


@pytest.mark.parametrize("left_out", ["q", "v"])
def test_a_missing_part_of_qkv_is_named(left_out: str) -> None:
    weights = theirs(config()).state_dict()
    del weights[f"blocks.1.attn1.to_{left_out}.bias"]
    with pytest.raises(WeightsError, match=rf"has no partner \['trunk.blocks.1.self_attn.{left_out}.bias'\]"):
        from_diffusers(weights)
