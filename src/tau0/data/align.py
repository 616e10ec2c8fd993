"""Rows of a recording to the model's grid of instants, by timestamp and never by index."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from tau0.geometry import rotation_between

Times = NDArray[np.float64]

GAP = 1.5
"""Neighbouring rows this many nominal periods apart have lost a row between them: nothing is made up in there."""
SNAP = 0.02
"""An instant within this share of a period from a row is that row. Time stamps are float32, so that after an hour a row at 80 Hz is
0.01 periods off; and a source at the model's own rate must come out as it went in, bit for bit."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Instants of the model among the rows of one stretch of an episode.

    Attributes:
        before: The row at or before each instant, shape (n,).
        share: How far the instant lies towards the row after, in [0, 1), shape (n,); 0 where the instant is that of a row.
        nearest: The row nearest in time, shape (n,): the frame that was seen.
    """

    before: NDArray[np.int64]
    share: Times
    nearest: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.before)

    @property
    def after(self) -> NDArray[np.int64]:
        """The row that `share` leads to; `before` itself where the share is 0, so that it always exists."""
        return self.before + (self.share > 0)


def stretches(times_s: Times, period_s: float) -> list[slice]:
    """Rows without a gap of time between them, in order: one slice of all rows where no row was lost.

    An episode is cut at a gap, and every stretch becomes an episode of its own: what happened in between is not known, a window must not
    reach across it, and one lost frame is no reason to throw away the minutes before and after.
    """
    borders = [0, *(np.flatnonzero(np.diff(times_s) > GAP * period_s) + 1).tolist(), len(times_s)]
    return [slice(start, stop) for start, stop in pairwise(borders)]


def grid(times_s: Times, rate_hz: float, period_s: float, first_row: int = 0) -> Grid:
    """Instants `i / rate_hz` after the first of `times_s`, up to the last.

    Args:
        times_s: Of the rows of a stretch, increasing, shape (rows,).
        rate_hz: The model's.
        period_s: Nominal time from row to row of the recording.
        first_row: The number of the stretch's first row within its episode: rows are counted from there.
    """
    since, slack = times_s - times_s[0], SNAP * period_s
    instants = np.arange(int(np.floor((since[-1] + slack) * rate_hz)) + 1) / rate_hz
    before = np.searchsorted(since, instants + slack, side="right") - 1
    after = np.minimum(before + 1, len(since) - 1)
    behind = instants - since[before]
    step = np.where(after > before, since[after] - since[before], 1.0)
    share = np.where((np.abs(behind) <= slack) | (after == before), 0.0, behind / step)
    nearest = np.where(share > 0.5, after, before)
    return Grid(before=before + first_row, share=share, nearest=nearest + first_row)


def grid_slowly(times_s: Sequence[float], rate_hz: float, period_s: float, first_row: int = 0) -> Grid:
    """`grid` written so that it can be read."""
    first, slack = times_s[0], SNAP * period_s
    before: list[int] = []
    share: list[float] = []
    nearest: list[int] = []
    i = 0
    while i / rate_hz <= times_s[-1] - first + slack:
        instant = i / rate_hz
        row = bisect_right([time - first for time in times_s], instant + slack) - 1
        is_at_row = row == len(times_s) - 1 or abs(instant - (times_s[row] - first)) <= slack
        part = 0.0 if is_at_row else (instant - (times_s[row] - first)) / (times_s[row + 1] - times_s[row])
        before.append(first_row + row)
        share.append(part)
        nearest.append(first_row + (row if part <= 0.5 else row + 1))
        i += 1
    return Grid(before=np.array(before), share=np.array(share), nearest=np.array(nearest))


def numbers_at(rows: NDArray[np.float64], at: Grid) -> NDArray[np.float64]:
    """Numbers at the instants of a grid, linear in time between rows; the row itself where the instant is that of a row.

    Positions, joints, grippers, velocities and targets alike. A gripper's target that jumps is drawn out over at most one period of the
    recording, which is what the recording knows about when it jumped.

    Args:
        rows: Of the episode, shape (rows, size).
        at: The grid, n instants.

    Returns:
        Shape (n, size).
    """
    share = at.share[:, None]
    start = rows[at.before]
    return np.where(share > 0, start + share * (rows[at.after] - start), start)


def rotations_at(rows: NDArray[np.float64], at: Grid) -> NDArray[np.float64]:
    """Rotation matrices at the instants of a grid, turning at constant speed by the shorter way between rows.

    Args:
        rows: Rotation matrices of the episode, shape (rows, 3, 3).
        at: The grid, n instants.

    Returns:
        Shape (n, 3, 3).
    """
    if not at.share.any():
        return rows[at.before]
    start, stop = (torch.from_numpy(np.ascontiguousarray(rows[index])) for index in (at.before, at.after))
    return rotation_between(start, stop, torch.from_numpy(at.share)).numpy()
