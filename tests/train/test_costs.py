"""The formulas of `costs` and `memory` against what PyTorch counts and keeps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from fake_source import NUM_MEMORY, fake_batch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tau0.data.index import Stream
from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.presets import PRESETS
from tau0.train.config import TrainConfig
from tau0.train.costs import policy_work, simulator_work
from tau0.train.draws import Draws
from tau0.train.loop import Networks
from tau0.train.memory import block_input_bytes, count_parameters
from tau0.train.meter import sample_shape
from tau0.train.objective import weighted_sum
from tau0.train.sharding import blocks
from tiny import MODEL

SAMPLING = SamplingConfig(num_memory=NUM_MEMORY)
CASES: list[tuple[Stream, bool]] = [("policy", True), ("simulator", True), ("simulator", False)]


@pytest.mark.parametrize(("stream", "shapes"), CASES)
def test_operations_are_those_that_pytorch_counts(stream: Stream, shapes: bool):
    config = TrainConfig(action_draws=3, progress_shapes_trunk=shapes)
    model = WorldModel(replace(MODEL, trunk=replace(MODEL.trunk, num_layers=2)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01
    networks, batch = Networks(model, None), fake_batch(2)
    forward, both = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), both:
        with forward:
            loss = weighted_sum(networks(stream, batch, config, SAMPLING, Draws.of((0,), range(len(batch)))), config)
        loss.backward()
    shape = sample_shape(batch, config, SAMPLING)
    work = (policy_work(MODEL, shape) if stream == "policy" else simulator_work(MODEL, shape, progress_shapes_trunk=shapes)) * len(batch)
    assert forward.get_total_flops() == work.forward
    assert both.get_total_flops() == work.total


def input_bytes(stream: Stream, num_layers: int) -> tuple[int, int]:
    """Measured and computed: what autograd keeps when every block is recomputed, and the formula's inputs of blocks."""
    model = replace(MODEL, trunk=replace(MODEL.trunk, num_layers=num_layers))
    networks, config, batch = Networks(WorldModel(model), None), TrainConfig(action_draws=3), fake_batch(2)
    for block in blocks(networks):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        errors = networks(stream, batch, config, SAMPLING, Draws.of((0,), range(len(batch))))
        assert errors
        return sum(kept.values()), len(batch) * block_input_bytes(model, sample_shape(batch, config, SAMPLING), stream)


@pytest.mark.parametrize("stream", ["policy", "simulator"])
def test_every_layer_keeps_its_input(stream: Stream):
    (few, few_computed), (many, many_computed) = input_bytes(stream, 2), input_bytes(stream, 5)
    assert many - few == many_computed - few_computed


def test_published_shape_has_the_published_number_of_parameters():
    counts = count_parameters(PRESETS["wan5b"]().model)
    assert counts.total == 5_511_465_172 + 914_489_857 + 37_785_216
    assert counts.vectors < counts.total / 1000
