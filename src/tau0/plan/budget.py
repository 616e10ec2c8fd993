"""Time: what each stage of a query took, and whether there is enough left for the next one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Wall time of one query, in all and by stage, in milliseconds."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.milliseconds: dict[str, float] = {}

    @property
    def elapsed_ms(self) -> float:
        """Since the query began."""
        return 1000 * (time.perf_counter() - self._started)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Records the time spent inside."""
        before = self.elapsed_ms
        yield
        self.milliseconds[name] = self.elapsed_ms - before


class Budget:
    """Whether a stage that may be left out still fits. A stage is expected to take as long as the last time, and nothing the first time."""

    def __init__(self, limit_ms: float | None) -> None:
        """A budget for each query; None for no limit, and then decisions do not depend on the machine's speed.

        Raises:
            ValueError: When the limit is negative.
        """
        if limit_ms is not None and limit_ms < 0:
            raise ValueError(f"budget_ms must be at least 0, got {limit_ms}")
        self._limit_ms = limit_ms
        self._expected_ms: dict[str, float] = {}

    def allows(self, stage: str, watch: Stopwatch) -> bool:
        """Whether the stage, begun now, is expected to end in time."""
        return self._limit_ms is None or watch.elapsed_ms + self._expected_ms.get(stage, 0.0) <= self._limit_ms

    def learn(self, watch: Stopwatch) -> None:
        """Expects of the next query what this one took."""
        self._expected_ms |= watch.milliseconds
