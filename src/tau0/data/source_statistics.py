"""Statistics of a source per number of the layout, such that sources of one robot can be pooled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tau0.actions import ActionCodec, Normaliser
from tau0.data.layout import Layout
from tau0.data.statistics import STD_FLOOR

CONSTANT_STD = 1.0
"""What a number that never changes, or that no source has, is divided by: it becomes 0, and rounding does not become signal."""
BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Count, mean and sum of squared distances from it, for each number by itself: one robot's sources need not have the same.

    Attributes:
        count: Rows in which the number was there.
        mean: Of these, 0 without any.
        squares: Summed squared distances from the mean.
    """

    count: tuple[int, ...]
    mean: tuple[float, ...]
    squares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.count) == len(self.mean) == len(self.squares):
            raise ValueError(f"moments of {len(self.count)}, {len(self.mean)} and {len(self.squares)} numbers, expected one length")
        if not np.isfinite([*self.mean, *self.squares]).all():
            raise ValueError("moments must be finite")

    @classmethod
    def empty(cls, dim: int) -> Moments:
        """Of no rows."""
        return cls(count=(0,) * dim, mean=(0.0,) * dim, squares=(0.0,) * dim)

    @classmethod
    def of(cls, rows: NDArray[np.floating], present: NDArray[np.bool_], times: NDArray[np.integer] | None = None) -> Moments:
        """Of a block of rows.

        Args:
            rows: Shape (n, dim).
            present: Which numbers are there, shape (dim,); the others are not counted.
            times: How often each row counts, shape (n,); once by default.
        """
        if not len(rows) or not present.any():
            return cls.empty(rows.shape[1])
        block, weights = rows.astype(np.float64), np.ones(len(rows)) if times is None else times.astype(np.float64)
        mean = weights @ block / weights.sum()
        squares = weights @ (block - mean) ** 2
        count = np.where(present, round(weights.sum()), 0)
        return cls(count=_whole(count), mean=_real(np.where(present, mean, 0.0)), squares=_real(np.where(present, squares, 0.0)))

    def merged(self, other: Moments) -> Moments:
        """Of both together (Chan's parallel form of Welford's method)."""
        mine, theirs = np.array(self.count, np.float64), np.array(other.count, np.float64)
        total = np.maximum(mine + theirs, 1)
        away = np.array(other.mean) - np.array(self.mean)
        mean = np.array(self.mean) + away * theirs / total
        squares = np.array(self.squares) + np.array(other.squares) + away**2 * mine * theirs / total
        return Moments(count=_whole(np.array(self.count) + np.array(other.count)), mean=_real(mean), squares=_real(squares))

    @property
    def std(self) -> tuple[float, ...]:
        """The population's standard deviation; `CONSTANT_STD` for a number that does not vary or was never there."""
        std = np.sqrt(np.array(self.squares) / np.maximum(self.count, 1))
        return _real(np.where(std < STD_FLOOR, CONSTANT_STD, std))

    def normaliser(self) -> Normaliser:
        """To z-scores and back."""
        return Normaliser(mean=self.mean, std=self.std)


@dataclass(frozen=True, kw_only=True)
class SourceStatistics:
    """What normalises a source, or all sources of a robot.

    Attributes:
        state: Of the absolute state, per number of the layout.
        action: Of actions, executed and advised, measured from the current state as the codec measures them.
    """

    state: Moments
    action: Moments

    @classmethod
    def empty(cls, dim: int) -> SourceStatistics:
        """Of nothing."""
        return cls(state=Moments.empty(dim), action=Moments.empty(dim))

    @classmethod
    def from_json(cls, text: str) -> SourceStatistics:
        """The statistics that `to_json` wrote.

        Raises:
            ValueError: When the text is not what `to_json` writes.
        """
        try:
            raw = json.loads(text)
            return cls(state=_moments(raw["state"]), action=_moments(raw["action"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"statistics of a source need state and action, each with count, mean and squares: {error!r}") from error

    def to_json(self) -> str:
        """One line of JSON; float64 survives the round trip exactly."""
        return json.dumps(asdict(self))

    def merged(self, other: SourceStatistics) -> SourceStatistics:
        """Of both together, as for two sources of one robot."""
        return SourceStatistics(state=self.state.merged(other.state), action=self.action.merged(other.action))

    def codec(self, layout: Layout) -> ActionCodec:
        """Encodes and decodes states and actions of a layout: poses and joints relative to the current state, the rest as it is."""
        return replace(measuring_codec(layout), state=self.state.normaliser(), action=self.action.normaliser())


def measuring_codec(layout: Layout) -> ActionCodec:
    """A codec whose `measure` is that of the layout, without statistics."""
    plain = Normaliser(mean=(0.0,) * layout.dim, std=(1.0,) * layout.dim)
    return ActionCodec(action=plain, state=plain, reference="relative", poses=layout.poses, grippers=layout.absolute)


def measured_moments(
    codec: ActionCodec, state: NDArray[np.float32], actions: NDArray[np.float32], horizon: int, present: NDArray[np.bool_]
) -> Moments:
    """Moments of one episode's actions as the windows of every row show them: all pairs of a row and a step < horizon after it.

    Args:
        codec: What measures.
        state: Absolute, shape (rows, dim).
        actions: Absolute, shape (rows, dim).
        horizon: Steps of a window; those after the episode's end are not counted.
        present: Which numbers of the action the source has, shape (dim,).
    """
    is_absolute = np.isin(np.arange(actions.shape[1]), codec.grippers)
    windows = np.minimum(np.arange(1, len(actions) + 1), horizon)  # a row that is not measured from the state is the same in all of them
    moments = Moments.of(actions, present & is_absolute, windows)
    is_measured = present & ~is_absolute
    rest = tuple(np.flatnonzero(~is_measured).tolist())
    codec = replace(codec, poses=tuple(start for start in codec.poses if is_measured[start]), grippers=rest)
    for first in range(0, len(state) if is_measured.any() else 0, BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(state)))
        steps = rows[:, None] + np.arange(horizon)
        chunk = torch.from_numpy(actions[np.minimum(steps, len(state) - 1)].astype(np.float64))
        measured = codec.measure(chunk, torch.from_numpy(state[rows].astype(np.float64)))
        moments = moments.merged(Moments.of(measured.numpy()[steps < len(state)], is_measured))
    return moments


def _moments(raw: dict[str, Any]) -> Moments:
    return Moments(count=tuple(map(int, raw["count"])), mean=tuple(map(float, raw["mean"])), squares=tuple(map(float, raw["squares"])))


def _whole(numbers: NDArray[np.integer] | Sequence[int]) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)


def _real(numbers: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)
