"""The quick way through large linear maps gives what the plain one gives, and is left alone where something is learnt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tau0.model import attention, linear
from tau0.model.linear import FeedForward, Linear, is_quick
from tau0.model.trunk import Trunk
from tau0.model.world_model import WorldModel
from tiny import tiny_config

HAS_ONEDNN = torch.backends.mkldnn.is_available()
needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this build of PyTorch has no oneDNN")


@needs_onednn
@torch.inference_mode()
@pytest.mark.parametrize("shape", [(4, 108, 96), (576, 96), (2, 3, 100, 96)])
def test_linear_and_feed_forward_equal_their_plain_twins(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    maps: list[nn.Module] = [Linear(96, 288), Linear(96, 80, bias=False), FeedForward(96, 192, 96)]
    x = torch.randn(shape)
    for module in maps:
        found = module(x)
        with monkeypatch.context() as off:
            off.setattr(linear, "LARGE", math.inf)
            plain = module(x)
        assert found.shape == plain.shape
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


@needs_onednn
@torch.inference_mode()
def test_rows_that_lie_apart_in_memory_are_read_right() -> None:
    torch.manual_seed(0)
    module, x = Linear(96, 288), torch.randn(96, 12, 60).permute(1, 2, 0)[::2]
    assert is_quick(x, module.weight)
    torch.testing.assert_close(module(x), nn.functional.linear(x, module.weight, module.bias), rtol=1e-5, atol=1e-5)


def test_what_is_learnt_small_or_in_half_precision_takes_the_plain_way() -> None:
    module, x = Linear(96, 288), torch.randn(600, 96)
    assert not is_quick(x, module.weight)
    with torch.inference_mode():
        assert is_quick(x, module.weight) == HAS_ONEDNN
        assert not is_quick(x[:10], module.weight)
        assert not is_quick(x.bfloat16(), module.weight.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            assert not is_quick(x, module.weight)
            assert module(x).dtype == torch.float32
    module(x).sum().backward()
    assert module.weight.grad is not None


@torch.inference_mode()
@pytest.mark.parametrize(("queries", "keys"), [(432, 24), (576, 54), (65, 64)])
def test_short_attention_equals_its_twin(queries: int, keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, n, 4, 24).permute(0, 2, 1, 3) for n in (queries, keys, keys))
    found = attention.attend(q, k, v, None)
    monkeypatch.setattr(attention, "SHORT", 0)
    plain = attention.attend(q, k, v, None)
    assert found.shape == plain.shape
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


def test_patches_are_the_convolution() -> None:
    torch.manual_seed(0)
    for patch in ((1, 2, 2), (2, 3, 2)):
        config = replace(tiny_config().model.trunk, patch=patch)
        trunk = Trunk(config)
        latents = torch.randn(2, config.latent_channels, 4, 6, 12)
        wanted = trunk.patch_embedding(latents).flatten(2).transpose(1, 2)
        torch.testing.assert_close(trunk._patches(latents), wanted, rtol=1e-5, atol=1e-5)


@needs_onednn
@torch.inference_mode()
def test_a_whole_model_gives_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = WorldModel(tiny_config().model)
    for name, parameter in model.named_parameters():
        if name.endswith("head.proj.weight"):
            nn.init.normal_(parameter, std=0.1)
    trunk, expert = model.config.trunk, model.config.action
    assert expert is not None
    text, chunks = torch.randn(1, trunk.text_length, trunk.text_width), torch.randn(4, 17, expert.dim)
    latents, levels = torch.randn(4, trunk.latent_channels, 6, 6, 12), torch.tensor([[0.0] * 4 + [600.0] * 2]).expand(4, -1)

    def both() -> list[torch.Tensor]:
        features, progress = model.denoise_future(
            latents, levels, model.text_context(text), chunks, torch.ones(4, 17), torch.full((4,), 600.0)
        )
        seen = model.video_features(latents[:1, :, 3:], levels[:1, 3:], text)
        actions = model.denoise_actions(model.action_context(seen), chunks, torch.full((1,), 600.0), torch.ones(4, expert.dim))
        return [features.velocity, *features.hidden, progress, actions]

    with monkeypatch.context() as slow:
        slow.setattr(linear, "LARGE", math.inf)
        slow.setattr(attention, "SHORT", 0)
        plain = both()
    monkeypatch.setattr(linear, "LARGE", 0)
    for found, wanted in zip(both(), plain, strict=True):
        assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
