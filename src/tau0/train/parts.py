"""The samples of one step that a process computes, part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tau0.data.index import Stream
from tau0.data.windows import Rows
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.masks import TERM_SIGNALS, count_supervised
from tau0.train.objective import drop_captions
from tau0.train.parallel import share_of, summed
from tau0.train.source import TrainingSource

STREAMS: tuple[Stream, ...] = ("policy", "simulator")


@dataclass(frozen=True, kw_only=True)
class Place:
    """This process among its peers."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is computed in one go.

    Attributes:
        stream: What it teaches.
        rows: Global rows of its samples, shape (b,).
        batch: The samples, on the CPU.
        draws: Everything that is drawn for them: a function of seed, step, stream and a sample's place in the whole batch.
    """

    stream: Stream
    rows: Rows
    batch: Batch
    draws: Draws


def batch_sizes(config: TrainConfig) -> dict[Stream, int]:
    """Samples a step of every stream that is trained on."""
    sizes: dict[Stream, int] = {"policy": config.policy_batch, "simulator": config.simulator_batch}
    return {stream: size for stream, size in sizes.items() if size}


def parts_of(source: TrainingSource, config: TrainConfig, step: int, place: Place, micro_batches: int = 1) -> Iterator[Part]:
    """This process's parts of a step: as many as there are micro-batches, for each stream."""
    for stream, size in batch_sizes(config).items():
        mine = share_of(size, place.rank, place.world)
        for i in range(micro_batches):
            own = share_of(mine.stop - mine.start, i, micro_batches)
            part = slice(mine.start + own.start, mine.start + own.stop)
            draws = Draws.of((config.seed, step, STREAMS.index(stream)), range(part.start, part.stop))
            batch = drop_captions(source.batch(stream, step, part), source.empty_text, config.caption_dropout, draws)
            yield Part(stream=stream, rows=source.rows(stream, step, part), batch=batch, draws=draws)


def count_kept(parts: Sequence[Part]) -> dict[str, float]:
    """By term, what the masks of all processes' parts of this step keep: the same numbers however the samples are spread."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(count_supervised(part.stream, part.batch))
    return dict(zip(TERM_SIGNALS, summed([float(counts[term]) for term in TERM_SIGNALS]), strict=True))
