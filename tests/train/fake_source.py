"""Samples without a dataset: random, and a pure function of (stream, step)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tau0.data.catalogue import KINDS
from tau0.data.description import SIGNALS
from tau0.data.index import Stream
from tau0.data.windows import Rows
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.source import TrainingSource
from tiny import DIM, EMBODIMENT, MODEL, NUM_FUTURE

NUM_MEMORY, VIEWS, SIDE = 3, 2, 4
HORIZON = EMBODIMENT.action_horizon


def fake_batch(size: int, seed: int = 0) -> Batch:
    """Everything present, nothing masked."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=generator)

    def all_of(*shape: int) -> Tensor:
        return torch.ones(size, *shape, dtype=torch.bool)

    return Batch(
        latents=random(VIEWS, MODEL.trunk.latent_channels, NUM_MEMORY + 1 + NUM_FUTURE, SIDE, SIDE),
        text=random(4, MODEL.trunk.text_width),
        state=random(DIM),
        target_actions=random(HORIZON, DIM),
        executed_actions=random(HORIZON, DIM),
        progress=random(HORIZON).clamp(-1, 1),
        view_mask=all_of(VIEWS),
        video_mask=all_of(NUM_FUTURE),
        action_mask=all_of(HORIZON, DIM),
        state_mask=all_of(DIM),
        executed_mask=all_of(DIM),
        progress_mask=all_of(HORIZON),
        weights=torch.ones(size, len(SIGNALS)),
    )


class FakeSource:
    """Fresh samples every step, or the same ones for ever.

    Attributes:
        labels: See `TrainingSource`.
        empty_text: See `TrainingSource`.
        poisoned: (stream, step, sample) of numbers that are not finite.
    """

    def __init__(self, config: TrainConfig, *, is_constant: bool = False) -> None:
        self.labels = KINDS
        self.empty_text = torch.zeros(4, MODEL.trunk.text_width)
        self.poisoned: set[tuple[Stream, int, int]] = set()
        self._sizes: dict[Stream, int] = {"policy": config.policy_batch, "simulator": config.simulator_batch}
        self._is_constant = is_constant

    def batch(self, stream: Stream, step: int, part: slice = slice(None)) -> Batch:
        """See `TrainingSource.batch`."""
        batch = fake_batch(self._sizes[stream], 0 if self._is_constant else 2 * step + (stream == "policy"))
        for poisoned, at, sample in self.poisoned:
            if (poisoned, at) == (stream, step):
                batch.latents[sample] = torch.nan
        return batch[part]

    def rows(self, stream: Stream, step: int, part: slice = slice(None)) -> Rows:
        """Numbers 1000 step, 1000 step + 1, .."""
        return (1000 * step + np.arange(self._sizes[stream]))[part]

    def label_of(self, rows: Rows) -> Rows:
        """In turn."""
        return rows % len(KINDS)

    def describe(self, rows: Rows) -> list[str]:
        """By number."""
        return [f"number {row}" for row in rows]


def fake_source(config: TrainConfig, *, is_constant: bool = False) -> TrainingSource:
    """A `FakeSource`, as far as training can tell."""
    return cast(Any, FakeSource(config, is_constant=is_constant))
