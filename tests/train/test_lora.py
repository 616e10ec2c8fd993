"""Adapters change nothing at first, learn alone, and can be added to the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_source import NUM_MEMORY, fake_batch

from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.loop import Networks
from tau0.train.lora import LoraConfig, add_adapters, fresh_adapter, is_adapter, merged
from tiny import MODEL

LORA = LoraConfig(rank=2, alpha=6.0)
CONFIG, SAMPLING = TrainConfig(action_draws=1), SamplingConfig(num_memory=NUM_MEMORY)


def networks() -> Networks:
    torch.manual_seed(0)
    model = WorldModel(replace(MODEL, trunk=replace(MODEL.trunk, num_layers=1)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return Networks(model, None)


def errors(nets: Networks) -> torch.Tensor:
    found = [nets(stream, fake_batch(2), CONFIG, SAMPLING, Draws.of((1,), range(2))) for stream in ("policy", "simulator")]
    return torch.stack([error.mean() for terms in found for error in terms.values()])


def test_adapters_begin_with_nothing_learn_alone_and_merge():
    plain, adapted = networks(), networks()
    add_adapters(adapted, LORA)
    torch.testing.assert_close(errors(adapted), errors(plain), rtol=0, atol=0)
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained
    assert all(is_adapter(name) for name in trained)
    matrices = ("self_attn.qkv", "self_attn.o", "cross_attn.q", "cross_attn.k", "cross_attn.v", "cross_attn.o", "ffn.0", "ffn.2")
    assert len(trained) == 2 * len(matrices) * 3
    with torch.no_grad():
        for parameter in trained.values():
            parameter += 0.1 * torch.randn(parameter.shape)
    changed = errors(adapted).detach()
    assert (changed - errors(plain).detach()).abs().max() > 1e-3
    plain.load_state_dict(merged(dict(adapted.named_parameters()), LORA))
    torch.testing.assert_close(errors(plain).detach(), changed, rtol=1e-4, atol=1e-5)


def test_without_adapters_merging_changes_nothing():
    tensors = dict(networks().named_parameters())
    assert merged(tensors, None) == tensors


def test_fresh_adapter_is_drawn_as_peft_draws_it():
    drawn = fresh_adapter("x.lora_A.default.weight", torch.empty(4, 64), torch.Generator().manual_seed(0))
    assert drawn.abs().max() <= 64**-0.5
    assert drawn.std() > 0.5 * 64**-0.5
    assert fresh_adapter("x.lora_B.default.weight", torch.empty(64, 4), torch.Generator()).abs().sum() == 0


def test_rank_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LoraConfig(rank=0, alpha=1.0)
