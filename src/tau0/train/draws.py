"""Random numbers of training, a stream of its own for every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tau0.flow import NUM_TRAIN_LEVELS


class Draws:
    """Random numbers of the samples of a batch, each sample's from a generator of its own.

    So what a sample is asked does not depend on its neighbours, nor on how a batch is shared out among processes and micro-batches.
    Numbers come from the CPU: one seed means one noise everywhere.
    """

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        self._generators = tuple(generators)

    @classmethod
    def of(cls, seed: Iterable[int], samples: Iterable[int]) -> Self:
        """Those of the samples with these numbers.

        Args:
            seed: What all have in common, such as seed, step and stream.
            samples: One number a sample, such as its place in the whole batch.
        """
        common = tuple(seed)
        return cls(_generator(*common, sample) for sample in samples)

    def __len__(self) -> int:
        return len(self._generators)

    def uniform(self) -> Float[Tensor, " b"]:
        """A number in [0, 1) for each sample."""
        return self._stacked(lambda generator: torch.rand((), generator=generator))

    def grid(self, num: int) -> Int[Tensor, "b num"]:
        """Places on the grid of training levels, `num` for each sample."""
        return self._stacked(lambda generator: torch.randint(NUM_TRAIN_LEVELS, (num,), generator=generator))

    def normal(self, *shape: int) -> Float[Tensor, "b *shape"]:
        """Standard normal numbers, so many for each sample."""
        return self._stacked(lambda generator: torch.randn(shape, generator=generator))

    def _stacked(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self._generators])


def _generator(*numbers: int) -> torch.Generator:
    """Seeded with all the numbers, so that no two samples of a run draw the same."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
