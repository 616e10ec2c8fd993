"""Whether predicted progress separates success from failure, and ranks what different actions make of one state."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tau0.evaluate.simulator_results import ProgressCard
from tau0.evaluate.simulator_windows import CardWindows
from tau0.evaluate.statistics import Interval, auroc, clustered_interval, spearman

Values = NDArray[np.float64]


def progress_card(windows: CardWindows, predicted: Values, labels: Values, rng: np.random.Generator) -> ProgressCard:
    """What predicted curves, shape (windows, ha), tell about the true ones, of the same shape."""
    promise, truth = predicted.max(axis=1), labels[:, -1]
    groups = _undecided_groups(windows, truth)
    families = np.array([windows.families[group[0]] for group in groups])
    ranked = np.array([_rank(promise[group], truth[group]) for group in groups]).reshape(-1, 3)
    return ProgressCard(
        auroc=_separation(windows, promise, rng),
        auroc_last=_separation(windows, predicted[:, -1], rng),
        auroc_late=_separation(windows, promise, rng, from_share=0.5),
        ranking=_mean(ranked[:, 0], families, rng),
        top=_mean(ranked[:, 1], families, rng),
        top_by_chance=float(ranked[:, 2].mean()) if groups else None,
        num_groups=len(groups),
    )


def _separation(windows: CardWindows, scores: Values, rng: np.random.Generator, from_share: float = 0.0) -> Interval | None:
    """AUROC of demonstrations against failures; branches are left out, most of them end before it is decided.

    Only windows that start after the share `from_share` of their episode count.
    """
    share = np.array([(row - e.start) / e.length for row, e in zip(windows.rows.tolist(), windows.episodes, strict=True)])
    kept = (windows.kinds != "branch") & (share >= from_share)
    scores, succeeded, families = scores[kept], windows.kinds[kept] == "demonstration", windows.families[kept]
    if len(np.unique(succeeded)) < 2:
        return None

    def statistic(at: NDArray[np.intp]) -> float:
        chosen = succeeded[at]
        return math.nan if chosen.all() or not chosen.any() else auroc(scores[at], chosen)

    return clustered_interval(statistic, families, rng)


def _undecided_groups(windows: CardWindows, truth: Values) -> list[NDArray[np.intp]]:
    """Windows of branches from one state whose labels differ."""
    members = [np.flatnonzero((windows.states == state) & (windows.kinds == "branch")) for state in np.unique(windows.states)]
    return [group for group in members if len(group) > 1 and np.ptp(truth[group]) > 0]


def _rank(promise: Values, truth: Values) -> tuple[float, float, float]:
    """Rank correlation (0 where the prediction is constant), whether the most promising is best (a tie by chance), share of the best."""
    correlation = spearman(promise, truth) if np.ptp(promise) > 0 else 0.0
    best = truth == truth.max()
    return correlation, float(best[promise == promise.max()].mean()), float(best.mean())


def _mean(values: Values, families: NDArray[np.int64], rng: np.random.Generator) -> Interval | None:
    return clustered_interval(lambda at: float(values[at].mean()), families, rng) if len(values) else None
