"""Batches ahead of time: those of the next step are gathered while this one is computed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tau0.train.config import TrainConfig
from tau0.train.mesh import LaunchError
from tau0.train.parts import Part, Place, batch_sizes, parts_of
from tau0.train.source import TrainingSource


class Feed:
    """The parts of every step's batch that this process computes. Use it as a context manager."""

    def __init__(self, source: TrainingSource, config: TrainConfig, place: Place, micro_batches: int) -> None:
        """Checks that every process has something to do in every part.

        Raises:
            LaunchError: When a stream's batch has fewer samples than there are processes and micro-batches.
        """
        for stream, size in batch_sizes(config).items():
            if size < place.world * micro_batches:
                raise LaunchError(
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
        return list(parts_of(self._source, self._config, step, self._place, self._micro_batches))
