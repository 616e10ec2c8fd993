"""Batches ahead of time: those of the next step are gathered while this one is computed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch

from tau0.data.index import Stream
from tau0.data.windows import Rows
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.loop import Place, batch_sizes
from tau0.train.objective import drop_captions
from tau0.train.parallel import share_of
from tau0.train.source import TrainingSource


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is computed in one go.

    Attributes:
        stream: What it teaches.
        rows: Global rows of its samples, shape (b,).
        batch: The samples, on the CPU.
        share: Of this process's samples of the stream, in (0, 1].
        generator: Of everything that is drawn for it: a function of seed, step, process and part.
    """

    stream: Stream
    rows: Rows
    batch: Batch
    share: float
    generator: torch.Generator


class Feed:
    """The parts of every step's batch that this process computes. Use it as a context manager."""

    def __init__(self, source: TrainingSource, config: TrainConfig, place: Place, micro_batches: int) -> None:
        """Checks that every process has something to do in every part.

        Raises:
            ValueError: When a stream's batch has fewer samples than there are processes and micro-batches.
        """
        for stream, size in batch_sizes(config).items():
            if size < place.world * micro_batches:
                raise ValueError(
                    f"{stream}_batch is {size}, but {place.world} processes with {micro_batches} micro-batches each need at least "
                    f"{place.world * micro_batches} samples a step"
                )
        self._source, self._config, self._place, self._micro_batches = source, config, place, micro_batches
        self._thread = ThreadPoolExecutor(1, "feed")
        self._next: tuple[int, Future[list[Part]]] | None = None

    def take(self, step: int) -> list[Part]:
        """The parts of a step; waits for them where they are not ready yet."""
        ready = self._next[1] if self._next is not None and self._next[0] == step else self._thread.submit(self._gather, step)
        parts = ready.result()
        self._next = step + 1, self._thread.submit(self._gather, step + 1)
        return parts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _gather(self, step: int) -> list[Part]:
        return list(self._parts(step))

    def _parts(self, step: int) -> Iterator[Part]:
        for number, (stream, size) in enumerate(batch_sizes(self._config).items()):
            mine = share_of(size, self._place.rank, self._place.world)
            for i in range(self._micro_batches):
                own = share_of(mine.stop - mine.start, i, self._micro_batches)
                part = slice(mine.start + own.start, mine.start + own.stop)
                generator = _generator(self._config.seed, step, self._place.rank, number, i)
                batch = drop_captions(self._source.batch(stream, step, part), self._config.caption_dropout, generator)
                share = (own.stop - own.start) / (mine.stop - mine.start)
                yield Part(stream=stream, rows=self._source.rows(stream, step, part), batch=batch, share=share, generator=generator)


def _generator(*numbers: int) -> torch.Generator:
    """Seeded with all the numbers, so that no two parts of a run draw the same."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
