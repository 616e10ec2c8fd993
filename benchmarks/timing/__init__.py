"""Times side by side: what is compared runs in turn, round after round, so that a busy machine slows all of it alike."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, and the 5th and 95th percentile."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Of measured values."""
    low, median, high = np.percentile(values, [5, 50, 95])
    return Spread(median=float(median), low=float(low), high=float(high))


def interleaved(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    synchronise: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds that each work takes, once a round. Every round starts with another work.

    Args:
        works: What to time, by name.
        rounds: Values per work.
        warm_up: Rounds before those, not counted.
        synchronise: Waits until the device has finished.
        clock: `time.process_time` counts this process's work alone, for a look on a machine that is not idle.
    """
    names, seconds = list(works), {name: [] for name in works}
    for number in range(warm_up + rounds):
        for i in range(len(names)):
            name = names[(i + number) % len(names)]
            synchronise()
            start = clock()
            works[name]()
            synchronise()
            if number >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Of times of the same rounds, one quotient a round."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def machine() -> str:
    """Processor, threads and torch, in a line."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        model = next((line.split(":")[1].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")), model)
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"
