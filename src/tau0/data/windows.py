"""Which rows make up one training sample: pure index arithmetic over the global rows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.data.catalogue import EpisodeInfo
from tau0.memory import memory_indices

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """The shape of a sample.

    Attributes:
        action_horizon: Action steps `ha`, the first at the current frame.
        frame_stride: Rows between two frames of the window.
        num_future: Future frames.
        num_memory: Past frames `m`.
    """

    action_horizon: int = 17
    frame_stride: int = 8
    num_future: int = 2
    num_memory: int = 3

    def __post_init__(self) -> None:
        for name, least in (("action_horizon", 1), ("frame_stride", 1), ("num_future", 0), ("num_memory", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class WindowRows:
    """Global rows of a batch of samples, and what each may supervise. Rows are always valid: padding repeats the episode's last row.

    Attributes:
        current: Row of the current frame, state and instruction, shape (b,).
        future: Rows of the future frames, shape (b, num_future).
        memory: Rows of the remembered frames, oldest first, shape (b, m). A branch remembers its parent's past.
        actions: Rows of the action steps, for labels, executed actions and progress alike, shape (b, ha).
        video_mask: Which future frames exist, shape (b, num_future).
        action_mask: Which steps exist and may be imitated, shape (b, ha). All False in failures and wrong branches.
        progress_mask: Which steps exist, so that their progress may be learned, shape (b, ha).
    """

    current: Rows
    future: Rows
    memory: Rows
    actions: Rows
    video_mask: Mask
    action_mask: Mask
    progress_mask: Mask

    def __len__(self) -> int:
        return len(self.current)


class Windows:
    """Resolves samples of a dataset, many at a time.

    A sample is named by the global row of its current frame. A branch whose parent is not among the episodes remembers its own past alone.

    Attributes:
        episodes: Of the whole dataset, so that global rows run from 0.
        spec: The shape of a sample.
        num_rows: Rows of the whole dataset.
    """

    def __init__(self, episodes: Sequence[EpisodeInfo], spec: WindowSpec) -> None:
        self.episodes = tuple(episodes)
        self.spec = spec
        self.num_rows = self.episodes[-1].stop
        by_index = {episode.index: episode for episode in self.episodes}
        parents = [by_index.get(episode.parent, episode) for episode in self.episodes]
        self._start = np.array([episode.start for episode in self.episodes])
        self._last = np.array([episode.stop - 1 for episode in self.episodes])
        self._parent_start = np.array([parent.start for parent in parents])
        self._parent_frame = np.array([max(episode.parent_frame, 0) if episode.parent in by_index else 0 for episode in self.episodes])
        self._teaches = np.array([episode.teaches_policy for episode in self.episodes])

    def episode_of(self, rows: Rows) -> Rows:
        """Positions in `episodes` of the episodes that global `rows` belong to, any shape."""
        return np.searchsorted(self._start, rows, side="right") - 1

    def resolve(self, rows: Rows) -> WindowRows:
        """The samples whose current frames are the global `rows`, shape (b,).

        Raises:
            IndexError: When a row lies outside the dataset.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.num_rows:
            raise IndexError(f"global rows run from 0 to {self.num_rows - 1}, got {rows.min()} to {rows.max()}")
        episode = self.episode_of(rows)
        last = self._last[episode][:, None]
        future = rows[:, None] + self.spec.frame_stride * np.arange(1, self.spec.num_future + 1)
        actions = rows[:, None] + np.arange(self.spec.action_horizon)
        exists = actions <= last
        return WindowRows(
            current=rows,
            future=np.minimum(future, last),
            memory=self._memory(rows, episode),
            actions=np.minimum(actions, last),
            video_mask=future <= last,
            action_mask=exists & self._teaches[episode][:, None],
            progress_mask=exists,
        )

    def _memory(self, rows: Rows, episode: Rows) -> Rows:
        """The remembered rows; step 0 is the parent's first frame, and a branch's frame 0 is the parent's frame `parent_frame`."""
        left_parent_at = self._parent_frame[episode]
        steps = memory_indices(rows - self._start[episode] + left_parent_at, self.spec.num_memory)
        in_parent = steps < left_parent_at[:, None]
        own = self._start[episode] - left_parent_at
        return steps + np.where(in_parent, self._parent_start[episode][:, None], own[:, None])


def resolve_one(episodes: Sequence[EpisodeInfo], spec: WindowSpec, episode: EpisodeInfo, t: int) -> WindowRows:
    """The sample at frame `t` of one episode, as a batch of one: `Windows.resolve` written so that it can be read."""
    last = episode.length - 1
    parent = next((other for other in episodes if episode.parent >= 0 and other.index == episode.parent), None)
    history = [parent.start + frame for frame in range(episode.parent_frame)] if parent else []
    history += [episode.start + frame for frame in range(t)]
    remembered = [history[len(history) * i // spec.num_memory] if history else episode.start for i in range(spec.num_memory)]
    future = [t + spec.frame_stride * (i + 1) for i in range(spec.num_future)]
    steps = [t + i for i in range(spec.action_horizon)]
    exists = [step <= last for step in steps]
    return WindowRows(
        current=np.array([episode.start + t]),
        future=np.array([[episode.start + min(frame, last) for frame in future]], np.int64).reshape(1, -1),
        memory=np.array([remembered], np.int64).reshape(1, -1),
        actions=np.array([[episode.start + min(step, last) for step in steps]]),
        video_mask=np.array([[frame <= last for frame in future]], bool).reshape(1, -1),
        action_mask=np.array([[step and episode.teaches_policy for step in exists]]),
        progress_mask=np.array([exists]),
    )
