"""Statistics of each feature as LeRobot v3.0 stores them: per episode, and pooled over episodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Pixels

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_IMAGES_SAMPLED = 16

Stats = dict[str, Any]


def number_stats(values: NDArray[Any]) -> Stats:
    """Minimum, maximum, mean, standard deviation, count and quantiles of each column of (t,) or (t, n), as lists of n."""
    table = np.asarray(values).reshape(len(values), -1)
    is_flag = table.dtype == np.bool_
    numbers = table.astype(np.float64)
    low, high = table.min(0), table.max(0)
    stats: Stats = {
        "min": low.tolist(),
        "max": high.tolist(),
        "mean": numbers.mean(0).tolist(),
        "std": numbers.std(0).tolist(),
        "count": [len(table)],
    }
    quantiles = np.quantile(numbers, list(QUANTILES.values()), axis=0)
    if is_flag:
        stats["min"], stats["max"] = [bool(x) for x in low], [bool(x) for x in high]
    return stats | {name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)}


def image_stats(frames: Pixels) -> Stats:
    """The same for each colour of (t, height, width, 3), in [0, 1] and nested as (3, 1, 1), from at most 16 frames spread evenly."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _IMAGES_SAMPLED)).astype(int))
    stats = number_stats(frames[chosen].reshape(-1, 3).astype(np.float32) / 255.0)
    nested = {name: [[[x]] for x in values] for name, values in stats.items() if name != "count"}
    return nested | {"count": [len(chosen)]}


def pooled_stats(parts: Iterable[Stats]) -> Stats:
    """Statistics of the union of disjoint parts, exact but for the quantiles, which are averaged as LeRobot does."""
    stats = list(parts)
    counts = np.array([part["count"][0] for part in stats], np.float64)
    weights = counts / counts.sum()
    mean = _weighted(stats, "mean", weights)
    spread = [np.square(part["std"]) + np.square(np.asarray(part["mean"], np.float64) - mean) for part in stats]
    variance = np.tensordot(weights, np.stack(spread), axes=1)
    pooled: Stats = {
        "min": np.stack([np.asarray(part["min"]) for part in stats]).min(0).tolist(),
        "max": np.stack([np.asarray(part["max"]) for part in stats]).max(0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(variance).tolist(),
        "count": [int(counts.sum())],
    }
    return pooled | {name: _weighted(stats, name, weights).tolist() for name in QUANTILES}


def _weighted(stats: list[Stats], name: str, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.tensordot(weights, np.stack([np.asarray(part[name], np.float64) for part in stats]), axes=1)
