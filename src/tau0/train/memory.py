"""How many bytes one process holds in training: arithmetic on the model's shape and on how it is spread (docs/scale.md).

Everything that is kept between steps is in float32: weights, gradients, two moments, and the average, 20 bytes a parameter. Gathered
weights are in the format of matrix products. With recomputation a sample keeps the input of every block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tau0.data.index import Stream
from tau0.model.config import WorldModelConfig
from tau0.model.world_model import WorldModel
from tau0.train.costs import SampleShape
from tau0.train.sharding import blocks, replicated_parameters

FLOAT32, BFLOAT16 = 4, 2
KEPT_COPIES = 5
"""Weights, gradients, two moments, the average."""


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """Numbers of parameters of a model.

    Attributes:
        blocks: In the matrices of each block, of trunk and experts.
        outside: In matrices outside blocks: embeddings, heads, conditioning.
        vectors: In everything else, which is whole on every process.
    """

    blocks: tuple[int, ...]
    outside: int
    vectors: int

    @property
    def sharded(self) -> int:
        """What is shared out."""
        return sum(self.blocks) + self.outside

    @property
    def total(self) -> int:
        """All."""
        return self.sharded + self.vectors


def count_parameters(config: WorldModelConfig) -> ParameterCounts:
    """Of a model of this shape, without giving it memory."""
    with torch.device("meta"):
        model = WorldModel(config)
    whole = replicated_parameters(model)
    in_blocks = tuple(sum(p.numel() for p in block.parameters() if p not in whole) for block in blocks(model))
    vectors = sum(p.numel() for p in whole)
    return ParameterCounts(blocks=in_blocks, outside=sum(p.numel() for p in model.parameters()) - sum(in_blocks) - vectors, vectors=vectors)


def kept_bytes(counts: ParameterCounts, shards: int) -> float:
    """What a process keeps from step to step, gradients included."""
    return FLOAT32 * KEPT_COPIES * (counts.sharded / shards + counts.vectors)


def gathered_bytes(counts: ParameterCounts, shards: int, *, keep_gathered: bool) -> float:
    """Largest size of what a process gathers for a while: weights, and gradients before they are shared out in float32.

    Matrices outside blocks stay gathered for a whole pass. Of blocks two are there at a time, one being on its way, or all of them.
    """
    if shards == 1:
        return BFLOAT16 * counts.sharded + (BFLOAT16 + FLOAT32) * max(counts.blocks)
    at_a_time = sum(counts.blocks) if keep_gathered else 2 * max(counts.blocks)
    return BFLOAT16 * (counts.outside + at_a_time) + (BFLOAT16 + FLOAT32) * max(counts.blocks)


def block_input_bytes(config: WorldModelConfig, shape: SampleShape, stream: Stream) -> int:
    """What one sample keeps in float32 with recomputation: the input of every block of the trunk and of the stream's expert."""
    frames = shape.policy_frames if stream == "policy" else shape.simulator_frames
    numbers = shape.tokens(config.trunk, frames) * config.trunk.width
    if stream == "policy" and config.action is not None:
        numbers += shape.draws * (shape.horizon + 1) * config.action.width
    if stream == "simulator" and config.progress is not None:
        numbers += shape.horizon * config.progress.width
    return FLOAT32 * config.trunk.num_layers * numbers
