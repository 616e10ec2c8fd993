"""Mean and standard deviation of states and actions, accumulated in one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tau0.data.info import DatasetError

STD_FLOOR = 1e-6
"""A dimension that varies less than this is constant: dividing by it would turn rounding into signal."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Per-dimension mean and standard deviation of `count` rows, in the data's own units.

    Raises:
        ValueError: When lengths differ, a number is not finite, or a standard deviation is below `STD_FLOOR`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: int

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} numbers, std has {len(self.std)}")
        if not np.isfinite([*self.mean, *self.std]).all():
            raise ValueError(f"statistics must be finite, got mean {self.mean} and std {self.std}")
        for dimension, std in enumerate(self.std):
            if std < STD_FLOOR:
                raise ValueError(f"dimension {dimension} has a standard deviation of {std:g}, expected at least {STD_FLOOR:g}")

    @classmethod
    def from_json(cls, text: str) -> Statistics:
        """The statistics that `to_json` wrote.

        Raises:
            ValueError: When the text is not what `to_json` writes.
        """
        try:
            raw = json.loads(text)
            return cls(mean=tuple(map(float, raw["mean"])), std=tuple(map(float, raw["std"])), count=int(raw["count"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"statistics need mean, std and count: {error!r}") from error

    def to_json(self) -> str:
        """One line of JSON; float64 survives the round trip exactly."""
        return json.dumps(asdict(self))


class RunningStatistics:
    """Accumulates statistics of a stream of row blocks in float64, without keeping them (Chan's parallel form of Welford's method)."""

    def __init__(self, dim: int) -> None:
        self._count = 0
        self._mean = np.zeros(dim)
        self._squares = np.zeros(dim)

    @property
    def count(self) -> int:
        """Rows seen."""
        return self._count

    def add(self, rows: ArrayLike) -> None:
        """Takes in a block of rows, shape (n, dim).

        Raises:
            ValueError: When the shape does not fit or a number is not finite.
        """
        block = np.asarray(rows, np.float64)
        if block.ndim != 2 or block.shape[1] != len(self._mean):
            raise ValueError(f"rows have shape {block.shape}, expected (n, {len(self._mean)})")
        if not np.isfinite(block).all():
            raise ValueError(f"row {int(np.flatnonzero(~np.isfinite(block).all(1))[0])} of the block is not finite")
        if len(block):
            mean = block.mean(0)
            self._merge(len(block), mean, ((block - mean) ** 2).sum(0))

    def merge(self, other: RunningStatistics) -> None:
        """Takes in everything that `other` has seen."""
        self._merge(other._count, other._mean, other._squares)

    def result(self, names: Sequence[str] = ()) -> Statistics:
        """The statistics so far, with the population's standard deviation.

        Args:
            names: One per dimension, to name the one that does not vary.

        Raises:
            DatasetError: When there are fewer than two rows, or a dimension is constant (below `STD_FLOOR`).
        """
        if self._count < 2:
            raise DatasetError(f"statistics need at least 2 rows, got {self._count}")
        std = np.sqrt(self._squares / self._count)
        for dimension in np.flatnonzero(std < STD_FLOOR).tolist():
            name = f"{dimension} ({names[dimension]!r})" if names else str(dimension)
            raise DatasetError(
                f"dimension {name} is constant over {self._count} rows (std {std[dimension]:g} < {STD_FLOOR:g}): "
                "it cannot be normalised; leave it out or record data in which it varies"
            )
        return Statistics(mean=tuple(self._mean.tolist()), std=tuple(std.tolist()), count=self._count)

    def _merge(self, count: int, mean: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        total = self._count + count
        if not total:
            return
        delta = mean - self._mean
        self._mean = self._mean + delta * (count / total)
        self._squares = self._squares + squares + delta**2 * (self._count * count / total)
        self._count = total
