"""What a look through a dataset yields, episode by episode: the material of every check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.data.catalogue import EpisodeInfo
from tau0.data.doctor.watch import Watched, watch
from tau0.data.episodes import Dataset
from tau0.data.info import DatasetError
from tau0.data.schema import ACTION, STATE
from tau0.data.table import Columns

SAMPLED_ROWS = 20_000
ROW_COST = 0.02
"""How long looking at a row takes, where a frame takes 1."""
TURN = 2 * np.pi

Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class EpisodeView:
    """One episode as it was found.

    Attributes:
        episode: What the dataset says about it.
        rows: Its columns, unchecked; None where they cannot be read.
        fault: Why they cannot, else "".
        cameras: What the cameras show; none where the videos were not looked at.
    """

    episode: EpisodeInfo
    rows: Columns | None
    fault: str
    cameras: tuple[Watched, ...]

    def numbers(self, feature: str) -> Numbers | None:
        """A column as float64 of shape (length, size), None where there is none or a number is missing."""
        if self.rows is None or feature not in self.rows:
            return None
        column = np.asarray(self.rows[feature], np.float64).reshape(self.episode.length, -1)
        return column if np.isfinite(column).all() else None


def look_through(
    dataset: Dataset, videos: frozenset[int], shown: frozenset[int], num_pictures: int, on_looked: Callable[[float, str], None]
) -> Iterator[EpisodeView]:
    """Every episode in turn. Only the one that is looked at is in memory.

    Args:
        dataset: To look through.
        videos: Numbers of the episodes whose frames are all decoded.
        shown: Numbers of those of which pictures are kept.
        num_pictures: How many of each camera.
        on_looked: Told what was just looked at, and what it cost: 1 for each frame, `ROW_COST` for each row.
    """
    for episode in dataset.episodes:
        rows, fault = None, ""
        try:
            rows = dataset.unchecked(episode)
        except DatasetError as error:
            fault = str(error)
        on_looked(ROW_COST * episode.length, f"episode {episode.index}, rows")
        seen = []
        for camera in dataset.info.cameras if episode.index in videos else ():
            seen.append(watch(dataset.info, episode, camera, num_pictures if episode.index in shown else 0))
            on_looked(episode.length, f"episode {episode.index}, {camera}")
        yield EpisodeView(episode=episode, rows=rows, fault=fault, cameras=tuple(seen))


class RowSample:
    """Rows of one feature, evenly thinned to a number that does not grow with the dataset."""

    def __init__(self, feature: str, num_rows: int) -> None:
        self.feature = feature
        self._every = max(1, ceil(num_rows / SAMPLED_ROWS))
        self._parts: list[Numbers] = []
        self._low: Numbers | None = None
        self._high: Numbers | None = None

    def add(self, view: EpisodeView) -> None:
        """Takes in an episode, unless its numbers are missing."""
        numbers = view.numbers(self.feature)
        if numbers is None:
            return
        self._parts.append(numbers[:: self._every].copy())  # a view would keep all of it in memory
        low, high = numbers.min(0), numbers.max(0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    def rows(self) -> Numbers | None:
        """What was kept, shape (n, size); None when nothing was."""
        return np.concatenate(self._parts) if self._parts else None

    def range(self) -> tuple[Numbers, Numbers] | None:
        """Smallest and largest of all rows, kept or not, shape (size,) each."""
        return None if self._low is None or self._high is None else (self._low, self._high)


def unwrapped_steps(numbers: Numbers) -> Numbers:
    """Change from row to row, shape (length - 1, size); a jump of about a whole turn is an angle that passed pi."""
    steps = np.diff(numbers, axis=0)
    return np.where(is_wrap(steps), steps - np.sign(steps) * TURN, steps)


def is_wrap(steps: Numbers) -> NDArray[np.bool_]:
    """Where a change is within 15% of a whole turn."""
    return np.abs(np.abs(steps) - TURN) < 0.15 * TURN


def row_motion(view: EpisodeView) -> Numbers | None:
    """How much the robot moves from row to row, each number in units of its own typical change; shape (length - 1,)."""
    numbers = view.numbers(STATE)
    numbers = view.numbers(ACTION) if numbers is None else numbers
    if numbers is None or len(numbers) < 3:
        return None
    steps = np.abs(unwrapped_steps(numbers))
    scale = steps.mean(0)
    moving = scale > 1e-6
    return (steps[:, moving] / scale[moving]).mean(1) if moving.any() else np.zeros(len(steps))
