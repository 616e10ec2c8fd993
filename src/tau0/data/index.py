"""Which samples a training step sees: a pure function of (seed, step), so that resuming needs nothing but the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from tau0.data.apportion import Apportionment
from tau0.data.catalogue import KINDS, EpisodeInfo
from tau0.data.description import SourceDescription
from tau0.data.info import DatasetError
from tau0.data.pools import Pool, Spans, alone, by_group
from tau0.data.windows import Rows, WindowSpec

Stream = Literal["policy", "simulator"]
STREAMS: tuple[Stream, ...] = get_args(Stream)
Measure = Literal["hours", "samples", "tempered"]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of what a source gives to a stream each kind of episode makes up. Only ratios count.

    Kinds that do not occur in the source leave theirs to its others.
    """

    demonstration: float
    failure: float
    branch: float

    def __post_init__(self) -> None:
        for kind in KINDS:
            if not getattr(self, kind) >= 0:
                raise ValueError(f"the share of {kind} must be at least 0, got {getattr(self, kind)}")


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """How much of a stream each source makes up: proportional to its own weight, and to one of these.

    Attributes:
        by: "hours" of the recording; "samples" that it has for the stream; "tempered" is samples to the power of `temper`.
        temper: In [0, 1]: 0 gives sources of any size the same, 1 is by samples.
    """

    by: Measure = "samples"
    temper: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.temper <= 1:
            raise ValueError(f"temper must be in [0, 1], got {self.temper}")

    def __call__(self, samples: int, hours: float) -> float:
        """Of a source."""
        return {"hours": hours, "samples": float(samples), "tempered": samples**self.temper}[self.by]


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """What the two streams consist of.

    Attributes:
        policy_batch: Samples a step that may teach the policy.
        simulator_batch: Samples a step for the simulator.
        policy: Kinds of the policy stream; failures never occur in it.
        simulator: Kinds of the simulator stream.
        weighing: Of the sources.
        seed: Of the order.
    """

    policy_batch: int = 64
    simulator_batch: int = 64
    policy: Shares = field(default_factory=lambda: Shares(demonstration=0.85, failure=0, branch=0.15))
    simulator: Shares = field(default_factory=lambda: Shares(demonstration=0.35, failure=0.25, branch=0.4))
    weighing: Weighing = field(default_factory=Weighing)
    seed: int = 0

    def batch(self, stream: Stream) -> int:
        """Samples a step."""
        return {"policy": self.policy_batch, "simulator": self.simulator_batch}[stream]

    def shares(self, stream: Stream) -> Shares:
        """Of the kinds."""
        return {"policy": self.policy, "simulator": self.simulator}[stream]


def streams_of(description: SourceDescription) -> frozenset[Stream]:
    """The streams that a source may be part of.

    The policy's: what supervises actions or, without them, video; but never a rollout. Its video loss learns what follows an instruction,
    and a rollout shows what did not: that belongs to the simulator, which is told the actions (SPEC.md section 7).
    The simulator's: what supervises dynamics, so that there are executed actions.
    """
    supervised, found = set(description.supervises), set[Stream]()
    if description.kind != "rollout" and supervised & {"action", "video"}:
        found.add("policy")
    if "dynamics" in supervised:
        found.add("simulator")
    return frozenset(found)


@dataclass(frozen=True, kw_only=True)
class SampledSource:
    """What sampling has to know of one source.

    Attributes:
        name: For people.
        episodes: Those that are sampled: all of the source's or a split of them, their rows counted from the source's first.
        num_rows: Rows of the whole source.
        streams: That it may be part of, see `streams_of`.
        weight: Above 0.
        hours: Of recording in `episodes`.
        rejected: Rows that no sample may begin at, ascending.
    """

    name: str
    episodes: Sequence[EpisodeInfo]
    num_rows: int
    streams: frozenset[Stream] = frozenset(STREAMS)
    weight: float = 1.0
    hours: float = 0.0
    rejected: Rows = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"the weight of {self.name!r} must be above 0, got {self.weight}")


@dataclass(frozen=True, kw_only=True)
class PoolShare:
    """What one kind of one source contributes to a stream.

    Attributes:
        source: Number of the source.
        kind: Of its episodes.
        samples: That it has.
        share: Of the stream, in (0, 1].
    """

    source: int
    kind: str
    samples: int
    share: float


class SampleIndex:
    """The samples of every training step, as global rows: a source's rows follow those of the sources before it.

    Each kind of episode of each source is a pool, shuffled anew every epoch of its own and walked through without repetition. Branches of
    one group are shuffled together, frame by frame: what different actions make of the same state appears in the same batch. A batch
    is a like mixture all the way through, so that any part of it is one too.

    Attributes:
        spec: What the streams consist of.
        offsets: First global row of every source, shape (sources,).
    """

    def __init__(self, sources: Sequence[SampledSource], window: WindowSpec, spec: SamplingSpec) -> None:
        """Indexes the samples of all sources.

        Raises:
            DatasetError: When a stream with a batch size > 0 has no sample, or a source is weighed by hours that it does not have.
        """
        self.spec = spec
        ends = np.cumsum([0, *(source.num_rows for source in sources)], dtype=np.int64)
        self.offsets, self._num_rows = ends[:-1], int(ends[-1])
        self._streams: dict[Stream, list[tuple[Pool, PoolShare]]] = {stream: _pools(sources, window, spec, stream) for stream in STREAMS}
        self._apportionment: dict[Stream, Apportionment] = {}
        for stream, pools in self._streams.items():
            if pools:
                self._apportionment[stream] = Apportionment([share.share for _, share in pools])
            elif spec.batch(stream) > 0:
                among = f"none of the {sum(len(source.episodes) for source in sources)} episodes"
                raise DatasetError(f"{among} has a sample for the {stream}: check their kinds, lengths, shares and what they supervise")

    def rows(self, stream: Stream, step: int) -> Rows:
        """Global rows of the current frames of the samples of one stream at training step `step`, shape (batch size,)."""
        batch, pools = self.spec.batch(stream), self._streams[stream]
        if not batch or not pools:
            return np.zeros(0, np.int64)
        before, after = (self._apportionment[stream].before(samples) for samples in (step * batch, (step + 1) * batch))
        counts = after - before
        taken = [
            self.offsets[share.source] + pool.take(int(first), int(count))
            for (pool, share), first, count in zip(pools, before, counts, strict=True)
            if count
        ]
        places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count])
        return np.concatenate(taken)[np.argsort(places, kind="stable")]

    def samples(self, stream: Stream) -> Rows:
        """Every sample of a stream once, ascending: for measuring over all of a validation split."""
        parts = [self.offsets[share.source] + pool.all_rows() for pool, share in self._streams[stream]]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def composition(self, stream: Stream) -> tuple[PoolShare, ...]:
        """What the stream consists of."""
        return tuple(share for _, share in self._streams[stream])

    def locate(self, rows: Rows) -> tuple[Rows, Rows]:
        """Numbers of the sources that global `rows` belong to, and their rows there, both of the same shape.

        Raises:
            IndexError: When a row lies outside.
        """
        if np.size(rows) and not 0 <= np.min(rows) <= np.max(rows) < self._num_rows:
            raise IndexError(f"global rows run from 0 to {self._num_rows - 1}, got {np.min(rows)} to {np.max(rows)}")
        source = np.searchsorted(self.offsets, rows, side="right") - 1
        return source, rows - self.offsets[source]


def _pools(sources: Sequence[SampledSource], window: WindowSpec, spec: SamplingSpec, stream: Stream) -> list[tuple[Pool, PoolShare]]:
    """Every pool of a stream that has samples and a share above 0."""
    find, found = _FINDERS[stream], []
    for number, source in enumerate(sources):
        if stream not in source.streams:
            continue
        classes = {kind: find([e for e in source.episodes if e.kind == kind], kind, window, source.rejected) for kind in KINDS}
        seeds = {kind: (spec.seed, STREAMS.index(stream), number, KINDS.index(kind)) for kind in KINDS}
        shares = {kind: getattr(spec.shares(stream), kind) for kind in KINDS}
        pools = {kind: Pool(classes[kind], seeds[kind]) for kind in KINDS if classes[kind] and shares[kind] > 0}
        samples, whole = sum(pool.size for pool in pools.values()), sum(shares[kind] for kind in pools)
        if spec.weighing.by == "hours" and pools and not source.hours > 0:
            raise DatasetError(f"source {source.name!r} is weighed by its hours of recording, but has {source.hours:g}")
        weight = source.weight * spec.weighing(samples, source.hours)
        found += [(pool, number, kind, weight * shares[kind] / whole) for kind, pool in pools.items()]
    total = sum(weight for *_, weight in found)
    return [(pool, PoolShare(source=number, kind=kind, samples=pool.size, share=weight / total)) for pool, number, kind, weight in found]


def _imitated(episodes: Sequence[EpisodeInfo], _kind: str, _window: WindowSpec, rejected: Rows) -> list[Spans]:
    """Every frame of what may be imitated."""
    return alone([episode for episode in episodes if episode.teaches_policy], 0, rejected)


def _foreseen(episodes: Sequence[EpisodeInfo], kind: str, window: WindowSpec, rejected: Rows) -> list[Spans]:
    """Every frame with all its future frames: one that is missing would be seen, whatever the loss leaves out."""
    ahead = window.frame_stride * window.num_future
    return (by_group if kind == "branch" else alone)(episodes, ahead, rejected)


_FINDERS: Mapping[Stream, Callable[[Sequence[EpisodeInfo], str, WindowSpec, Rows], list[Spans]]] = {
    "policy": _imitated,
    "simulator": _foreseen,
}
