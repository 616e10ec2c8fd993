"""Whether predicted progress separates success from failure, says what it means, and ranks what different actions make of one state."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tau0.evaluate.simulator_intervals import mean_interval, ratio_interval
from tau0.evaluate.simulator_results import CalibrationBin, ProgressCard
from tau0.evaluate.simulator_windows import CardWindows
from tau0.evaluate.statistics import Interval, auroc, clustered_interval, spearman

Values = NDArray[np.float64]

EDGES = tuple(np.linspace(-1, 1, 11).round(1).tolist())
"""Of the bins of the calibration curve; a bin holds its lower edge, the last one both."""
FLAT = 0.25
"""A predicted curve whose range is below this share of the true one counts as flat."""


def progress_card(windows: CardWindows, predicted: Values, labels: Values, rng: np.random.Generator) -> ProgressCard:
    """What predicted curves, shape (windows, ha), tell about the true ones, of the same shape; little, where nothing is labelled."""
    if not len(windows):
        return ProgressCard()
    promise, truth = predicted.max(axis=1), labels[:, -1]
    groups = _undecided_groups(windows, truth)
    families = np.array([windows.families[group[0]] for group in groups])
    ranked = np.array([_rank(promise[group], truth[group]) for group in groups]).reshape(-1, 3)
    succeeded = windows.kinds == "demonstration"
    own, curves, true_curves = windows.families[succeeded], predicted[succeeded], labels[succeeded]
    spans, true_spans = np.ptp(curves, axis=1), np.ptp(true_curves, axis=1)
    calibration, error = _calibration(windows, predicted, labels, rng)
    return ProgressCard(
        auroc=_separation(windows, promise, rng),
        auroc_last=_separation(windows, predicted[:, -1], rng),
        auroc_late=_separation(windows, promise, rng, from_share=0.5),
        ranking=_mean(ranked[:, 0], families, rng),
        top=_mean(ranked[:, 1], families, rng),
        top_by_chance=float(ranked[:, 2].mean()) if groups else None,
        num_groups=len(groups),
        rank_all=_correlation(predicted[:, -1], truth, windows.families, rng),
        rank_successes=_correlation(curves[:, -1], true_curves[:, -1], own, rng),
        calibration=calibration,
        calibration_error=error,
        range=_mean(spans, own, rng),
        true_range=_mean(true_spans, own, rng),
        within=_mean(np.array([_rank_of_steps(*pair) for pair in zip(curves, true_curves, strict=True)]), own, rng),
        flat=_mean((spans < FLAT * true_spans).astype(np.float64), own, rng),
    )


def _calibration(
    windows: CardWindows, predicted: Values, labels: Values, rng: np.random.Generator
) -> tuple[tuple[CalibrationBin, ...], Interval]:
    """The curve, of bins that hold a step, and how far it is from the diagonal."""
    of, families = np.digitize(predicted, EDGES[1:-1]), windows.families
    bins, counted, missed = [], np.zeros(len(predicted)), np.zeros(len(predicted))
    for k, (low, high) in enumerate(pairwise(EDGES)):
        here = of == k
        if not here.any():
            continue
        steps, told, true = here.sum(axis=1), (predicted * here).sum(axis=1), (labels * here).sum(axis=1)
        mean = ratio_interval(true, steps, families, rng)
        bins.append(CalibrationBin(low=low, high=high, num_steps=int(here.sum()), predicted=told.sum() / steps.sum(), true=mean))
        missed += np.sign(told.sum() - true.sum()) * (told - true)
        counted += steps
    return tuple(bins), ratio_interval(missed, counted, families, rng)


def _correlation(predicted: Values, truth: Values, families: NDArray[np.int64], rng: np.random.Generator) -> Interval | None:
    """Spearman's, None where there is nothing to correlate."""
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return None

    def statistic(at: NDArray[np.intp]) -> float:
        first, second = predicted[at], truth[at]
        return spearman(first, second) if np.ptp(first) > 0 and np.ptp(second) > 0 else math.nan

    return clustered_interval(statistic, families, rng, num_resamples=1000)


def _rank_of_steps(curve: Values, label: Values) -> float:
    """Rank correlation of curve and label over the steps of one window, 0 where one of them is constant."""
    return spearman(curve, label) if np.ptp(curve) > 0 and np.ptp(label) > 0 else 0.0


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
    return mean_interval(values, families, rng) if len(values) else None
