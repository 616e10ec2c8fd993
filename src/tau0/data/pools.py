"""Samples of one kind as an endless walk without repetition, in memory that grows with episodes and not with their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tau0.data.catalogue import EpisodeInfo
from tau0.data.shuffle import permuted
from tau0.data.windows import Rows


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Stretches of frames at which equally many samples belong together, `k` of them: one where episodes stand alone.

    Attributes:
        starts: Rows of the samples at each stretch's first frame, ascending, shape (stretches, k).
        stops: How many frames this and all stretches before it have, shape (stretches,).
    """

    starts: Rows
    stops: Rows

    @property
    def together(self) -> int:
        """Samples a frame, `k`."""
        return self.starts.shape[1]

    @property
    def frames(self) -> int:
        """In all stretches."""
        return int(self.stops[-1])

    def rows(self, frames: Rows, members: Rows) -> Rows:
        """Rows of the samples number `members` at `frames`, which count through all stretches, all of shape (b,)."""
        span = np.searchsorted(self.stops, frames, side="right")
        return self.starts[span, members] + frames - np.where(span > 0, self.stops[span - 1], 0)

    def all_rows(self) -> Rows:
        """Every sample, in no particular order."""
        frames, members = np.divmod(np.arange(self.frames * self.together), self.together)
        return self.rows(frames, members)


class Pool:
    """Endless, seeded walk over the samples of one kind, shuffled anew in every epoch. What belongs together stays together.

    Frames with one sample, with two, and so on, are shuffled each among themselves and dealt evenly over the epoch.
    """

    def __init__(self, classes: Sequence[Spans], seed: tuple[int, ...]) -> None:
        """The samples of `classes`, at least one; `seed` consists of numbers >= 0."""
        self.size = sum(spans.frames * spans.together for spans in classes)
        self._classes = tuple(classes)
        self._seed = seed
        self._frames = np.array([spans.frames for spans in classes])
        self._together = np.array([spans.together for spans in classes])
        self._ticks = int(self._frames.max())

    def take(self, first: int, count: int) -> Rows:
        """Rows of the samples number `first` to `first + count` of the walk, shape (count,)."""
        epochs, places = np.divmod(np.arange(first, first + count), self.size)
        taken = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            taken[here] = self._of_epoch(int(epoch), places[here])
        return taken

    def all_rows(self) -> Rows:
        """Every sample once, in no particular order."""
        return np.concatenate([spans.all_rows() for spans in self._classes])

    def _of_epoch(self, epoch: int, places: Rows) -> Rows:
        rows = np.empty(len(places), np.int64)
        for number, (here, frames, members) in enumerate(self._dealt(places)):
            spans = self._classes[number]
            rows[here] = spans.rows(permuted(frames, spans.frames, (*self._seed, epoch, number)), members)
        return rows

    def _dealt(self, places: Rows) -> Iterator[tuple[NDArray[np.bool_], Rows, Rows]]:
        """For every class: which of the `places` of an epoch are its samples, and of these the number of the frame and the member.

        An epoch has as many ticks as the largest class has frames. At each, every class that is due deals the samples of one frame.
        """
        ticks = self._tick_of(places)
        left = places - self._dealt_before(ticks) @ self._together
        due, later = self._dealt_before(ticks), self._dealt_before(ticks + 1)
        for number, together in enumerate(self._together):
            size = (later - due)[:, number] * together
            here = (left >= 0) & (left < size)
            yield here, due[here, number], left[here]
            left = left - size

    def _tick_of(self, places: Rows) -> Rows:
        """The tick at which each sample is dealt: the last one before which no more samples than its place were dealt."""
        low, high = np.zeros_like(places), np.full_like(places, self._ticks)
        while (low + 1 < high).any():
            middle = (low + high) // 2
            reached = self._dealt_before(middle) @ self._together <= places
            low, high = np.where(reached, middle, low), np.where(reached, high, middle)
        return low

    def _dealt_before(self, ticks: Rows) -> Rows:
        """How many frames of every class are dealt before each tick, shape (b, classes)."""
        return (2 * ticks[:, None] * self._frames + self._ticks) // (2 * self._ticks)


def alone(episodes: Sequence[EpisodeInfo], ahead: int, rejected: Rows) -> list[Spans]:
    """Every frame with `ahead` more after it, but for the `rejected` rows (ascending), as one class; none where there is no such frame."""
    return _classes(([episode.start], start, stop) for episode in episodes for start, stop in _kept(episode, ahead, rejected))


def by_group(episodes: Sequence[EpisodeInfo], ahead: int, rejected: Rows) -> list[Spans]:
    """The same frames, where those of one number in all episodes of a group belong together; a class for every size that occurs."""
    groups: dict[int, list[EpisodeInfo]] = defaultdict(list)
    for episode in episodes:
        groups[episode.group if episode.group >= 0 else -1 - episode.start].append(episode)
    return _classes(stretch for group in groups.values() for stretch in _shared_stretches(group, ahead, rejected))


def _classes(stretches: Iterator[tuple[list[int], int, int]]) -> list[Spans]:
    """By the number of members: each stretch is its members' first rows of the episode, and frames [start, stop)."""
    starts: dict[int, list[list[int]]] = defaultdict(list)
    lengths: dict[int, list[int]] = defaultdict(list)
    for members, start, stop in stretches:
        starts[len(members)].append([member + start for member in members])
        lengths[len(members)].append(stop - start)
    return [Spans(starts=np.array(starts[size], np.int64), stops=np.cumsum(lengths[size], dtype=np.int64)) for size in sorted(starts)]


def _kept(episode: EpisodeInfo, ahead: int, rejected: Rows) -> Iterator[tuple[int, int]]:
    """Stretches [start, stop) of the episode's own frame numbers that may be samples."""
    stop = episode.length - ahead
    first, last = np.searchsorted(rejected, [episode.start, episode.start + max(stop, 0)])
    start = 0
    for frame in (rejected[first:last] - episode.start).tolist():
        if start < frame:
            yield start, frame
        start = frame + 1
    if start < stop:
        yield start, stop


def _shared_stretches(group: Sequence[EpisodeInfo], ahead: int, rejected: Rows) -> Iterator[tuple[list[int], int, int]]:
    """Cuts the frames of a group wherever an episode of it begins or ceases to give samples."""
    kept = [(episode.start, start, stop) for episode in group for start, stop in _kept(episode, ahead, rejected)]
    cuts = sorted({cut for _, start, stop in kept for cut in (start, stop)})
    for start, stop in pairwise(cuts):
        members = sorted(first for first, begins, ends in kept if begins <= start < ends)
        if members:
            yield members, start, stop
