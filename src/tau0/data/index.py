"""Which samples a training step sees: a pure function of (seed, step), so that resuming needs nothing but the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tau0.data.catalogue import KINDS, EpisodeInfo
from tau0.data.info import DatasetError
from tau0.data.windows import Rows, WindowSpec

Stream = Literal["policy", "simulator"]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of a stream's batch each kind of episode makes up. Only ratios count; kinds that do not occur leave theirs to the others."""

    demonstration: float
    failure: float
    branch: float

    def __post_init__(self) -> None:
        for kind in KINDS:
            if not getattr(self, kind) >= 0:
                raise ValueError(f"the share of {kind} must be at least 0, got {getattr(self, kind)}")


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """What the two streams consist of.

    Attributes:
        policy_batch: Samples a step that may teach the policy.
        simulator_batch: Samples a step for the simulator.
        policy: Kinds of the policy stream; failures never occur in it.
        simulator: Kinds of the simulator stream.
        seed: Of the order.
    """

    policy_batch: int = 64
    simulator_batch: int = 64
    policy: Shares = field(default_factory=lambda: Shares(demonstration=0.85, failure=0, branch=0.15))
    simulator: Shares = field(default_factory=lambda: Shares(demonstration=0.35, failure=0.25, branch=0.4))
    seed: int = 0


class WindowIndex:
    """The samples of every training step, as global rows for `Windows.resolve`.

    Each kind of episode in each stream is shuffled anew every epoch of its own and walked through without repetition. Branches of one group
    are shuffled together, frame by frame: what different actions make of the same state appears in the same batch.
    """

    def __init__(
        self, episodes: Sequence[EpisodeInfo], window: WindowSpec, spec: SamplingSpec, keep: NDArray[np.bool_] | None = None
    ) -> None:
        """Indexes the samples of `episodes`, all of a dataset's or a split of them.

        Args:
            episodes: Of the dataset.
            window: The shape of a sample.
            spec: What the two streams consist of.
            keep: By global row, which samples may be used; all by default.

        Raises:
            DatasetError: When a stream with a batch size > 0 has no sample.
        """
        self.spec = spec
        self._streams = {
            "policy": _shared(spec.policy_batch, _kept(_policy_pools(episodes), keep), spec.policy, (spec.seed, 0)),
            "simulator": _shared(spec.simulator_batch, _kept(_simulator_pools(episodes, window), keep), spec.simulator, (spec.seed, 1)),
        }
        for name, pools in self._streams.items():
            if not pools and getattr(spec, f"{name}_batch") > 0:
                message = f"none of the {len(episodes)} episodes has a sample for the {name}: check their kinds, lengths and shares"
                raise DatasetError(message)

    def rows(self, stream: Stream, step: int) -> Rows:
        """Current rows of the samples of one stream at training step `step`, shape (batch size,)."""
        parts = [pool.take(step * count, count) for pool, count in self._streams[stream]]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def samples(self, stream: Stream) -> Rows:
        """Every sample of a stream once, in the order of the dataset: for measuring over all of a validation split."""
        parts = [pool.rows for pool, _ in self._streams[stream]]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


class _Pool:
    """Endless, seeded walk over the samples of one kind. Rows with one `unit` stay together."""

    def __init__(self, rows: Rows, units: Rows, seed: tuple[int, ...]) -> None:
        self.rows = rows
        self._units = np.unique(units, return_inverse=True)[1]
        self._seed = seed
        self._order = lru_cache(maxsize=2)(self._permuted)

    def take(self, first: int, count: int) -> Rows:
        """Samples number `first` to `first + count` of the walk."""
        epochs, offsets = np.divmod(np.arange(first, first + count), len(self.rows))
        taken = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            taken[here] = self._order(int(epoch))[offsets[here]]
        return taken

    def _permuted(self, epoch: int) -> Rows:
        rng = np.random.default_rng((*self._seed, epoch))
        place = rng.permutation(self._units.max() + 1)
        return self.rows[np.argsort(place[self._units], kind="stable")]


def _policy_pools(episodes: Sequence[EpisodeInfo]) -> dict[str, tuple[Rows, Rows]]:
    """Rows and units by kind: every frame of what may be imitated."""
    return {kind: _pooled([e for e in episodes if e.kind == kind and e.teaches_policy], 0, together=False) for kind in KINDS}


def _simulator_pools(episodes: Sequence[EpisodeInfo], window: WindowSpec) -> dict[str, tuple[Rows, Rows]]:
    """Rows and units by kind: every frame with all its future frames. One that is missing would be seen, whatever the loss leaves out."""
    ahead = window.frame_stride * window.num_future
    return {kind: _pooled([e for e in episodes if e.kind == kind], ahead, together=kind == "branch") for kind in KINDS}


def _kept(pools: dict[str, tuple[Rows, Rows]], keep: NDArray[np.bool_] | None) -> dict[str, tuple[Rows, Rows]]:
    return pools if keep is None else {kind: (rows[keep[rows]], units[keep[rows]]) for kind, (rows, units) in pools.items()}


def _pooled(episodes: Sequence[EpisodeInfo], ahead: int, *, together: bool) -> tuple[Rows, Rows]:
    """All rows with `ahead` more rows after them, and the unit of each: its own, or shared by the same frame of a whole group."""
    spans = [np.arange(e.start, e.stop - ahead) for e in episodes]
    rows = np.concatenate(spans) if spans else np.zeros(0, np.int64)
    if not together or not len(rows):
        return rows, rows
    longest = max(e.length for e in episodes)
    groups = [(-1 - e.index if e.group < 0 else e.group) * longest + np.arange(len(span)) for e, span in zip(episodes, spans, strict=True)]
    return rows, np.concatenate(groups)


def _shared(batch: int, pools: dict[str, tuple[Rows, Rows]], shares: Shares, seed: tuple[int, int]) -> list[tuple[_Pool, int]]:
    """Pools of a stream with their constant number of samples a step: shares of the batch, rounded by largest remainder."""
    present = [kind for kind in KINDS if len(pools[kind][0]) and getattr(shares, kind) > 0]
    if not present:
        return []
    weights = np.array([getattr(shares, kind) for kind in present])
    exact = batch * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: batch - counts.sum()]] += 1
    return [(_Pool(*pools[kind], seed=(*seed, KINDS.index(kind))), int(n)) for kind, n in zip(present, counts, strict=True)]
