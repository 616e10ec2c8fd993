"""Which held-out windows a simulator is measured on, and how far its futures are from what happened there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from tau0.data.catalogue import KINDS, EpisodeInfo
from tau0.data.info import DatasetError
from tau0.data.windows import Rows

MOVING_CELLS = 0.25
"""Share of a window's latent cells, those that change most, that count as moving."""


@dataclass(frozen=True, kw_only=True)
class CardWindows:
    """Windows by the global row of their current frame, and the episode of each. Each has all its future frames and actions."""

    rows: Rows
    episodes: tuple[EpisodeInfo, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> CardWindows:
        """Some of them, in the same order."""
        return CardWindows(rows=self.rows[chosen], episodes=tuple(e for e, c in zip(self.episodes, chosen, strict=True) if c))

    @property
    def kinds(self) -> NDArray[np.str_]:
        """What each window's episode is: "demonstration", "failure" or "branch", shape (windows,)."""
        return np.array([episode.kind for episode in self.episodes])

    @property
    def families(self) -> Rows:
        """One number for an episode and all branches that left it: what an interval draws as one, shape (windows,)."""
        return np.array([episode.index if episode.parent < 0 else episode.parent for episode in self.episodes])

    @property
    def states(self) -> Rows:
        """One number from 0 for all windows from one physical state, which share their noise as candidates do, shape (windows,)."""
        keys = [(-1, row) if e.group < 0 else (e.group, row - e.start) for row, e in zip(self.rows.tolist(), self.episodes, strict=True)]
        numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return np.array([numbers[key] for key in keys])


def choose_windows(episodes: Sequence[EpisodeInfo], ahead: int, per_kind: int, rng: np.random.Generator) -> CardWindows:
    """About `per_kind` windows of every kind of episode, in the dataset's order.

    Demonstrations and failures give random frames; branches give their first frame, where they part, in whole groups.

    Args:
        episodes: Held out.
        ahead: Rows that a window needs after its current one.
        per_kind: Most windows of a kind; a last group of branches may exceed it.
        rng: Source of the choice.

    Raises:
        DatasetError: When no episode is long enough.
    """
    chosen: list[tuple[int, EpisodeInfo]] = []
    for kind in KINDS:
        own = [episode for episode in episodes if episode.kind == kind and episode.length > ahead]
        if kind == "branch":
            chosen += _whole_groups(own, per_kind, rng)
            continue
        frames = [(row, episode) for episode in own for row in range(episode.start, episode.stop - ahead)]
        chosen += [frames[i] for i in rng.permutation(len(frames))[:per_kind]]
    if not chosen:
        raise DatasetError(f"none of the {len(episodes)} held-out episodes is longer than the {ahead} steps that a window looks ahead")
    chosen.sort(key=lambda pair: pair[0])
    return CardWindows(rows=np.array([row for row, _ in chosen], np.int64), episodes=tuple(episode for _, episode in chosen))


def _whole_groups(branches: Sequence[EpisodeInfo], most: int, rng: np.random.Generator) -> list[tuple[int, EpisodeInfo]]:
    groups: dict[int, list[EpisodeInfo]] = {}
    for branch in branches:
        groups.setdefault(branch.group, []).append(branch)
    members, taken = list(groups.values()), []
    for i in rng.permutation(len(members)):
        if len(taken) < most:
            taken += [(branch.start, branch) for branch in members[i]]
    return taken


def derangement(num: int, rng: np.random.Generator) -> Rows:
    """A random permutation that leaves nothing in place (one cycle), shape (num,). Raises `DatasetError` for fewer than two."""
    if num < 2:
        raise DatasetError(f"swapping needs at least two held-out windows, got {num}")
    order = rng.permutation(num)
    swapped = np.empty(num, np.int64)
    swapped[order] = np.roll(order, 1)
    return swapped


def next_in_group(groups: Rows) -> Rows:
    """For every window the next one of the same group, in a circle; itself where it is alone. Shape (windows,)."""
    swapped = np.arange(len(groups))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        swapped[members] = np.roll(members, -1)
    return swapped


@dataclass(frozen=True, kw_only=True)
class WindowErrors:
    """Mean squared latent error of each window over its future frames.

    Attributes:
        everywhere: Over all cells, shape (windows,).
        on_what_moves: Over the quarter of its cells that changed most since the current frame, shape (windows,).
        last: Over the last future frame, shape (windows,).
    """

    everywhere: NDArray[np.float64]
    on_what_moves: NDArray[np.float64]
    last: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[WindowErrors]) -> WindowErrors:
        """One after the other."""
        return cls(
            everywhere=np.concatenate([part.everywhere for part in parts]),
            on_what_moves=np.concatenate([part.on_what_moves for part in parts]),
            last=np.concatenate([part.last for part in parts]),
        )


def window_errors(
    predicted: Float[Tensor, "n z f h vw"],
    future: Float[Tensor, "n z f h vw"],
    current: Float[Tensor, "n z 1 h vw"],
    columns: Bool[Tensor, "n vw"],
) -> WindowErrors:
    """Errors of predicted futures. `columns` says which columns of the canvas hold a camera; the others do not count."""
    exists = rearrange(columns, "n vw -> n 1 1 vw").expand(-1, future.shape[2], future.shape[3], -1).double()
    change = reduce((future - current).double().square(), "n z f h vw -> n f h vw", "mean") * exists
    error = reduce((predicted - future).double().square(), "n z f h vw -> n f h vw", "mean") * exists
    cells, changes, errors = (rearrange(t, "n f h vw -> n (f h vw)") for t in (exists, change, error))
    most = torch.ceil(MOVING_CELLS * cells.sum(dim=1)).long()
    moving = changes.argsort(dim=1, descending=True, stable=True).argsort(dim=1) < rearrange(most, "n -> n 1")
    last = error[:, -1].sum(dim=(1, 2)) / exists[:, -1].sum(dim=(1, 2))
    return WindowErrors(
        everywhere=(errors.sum(dim=1) / cells.sum(dim=1)).numpy(),
        on_what_moves=((errors * moving).sum(dim=1) / most).numpy(),
        last=last.numpy(),
    )
