"""Intervals and tests for success rates and rankings. Numpy and scipy only; every function states its formula and its source."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """The success rate with Wilson's score interval.

    `(p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`. Unlike the textbook interval it stays within [0, 1] and
    is not empty at 0 or n successes (Wilson 1927; recommended for small n by Brown, Cai and DasGupta 2001).

    Raises:
        ValueError: When there are no trials, or successes are not between 0 and trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"need 0 <= successes <= trials and at least one trial, got {successes} of {trials}")
    z = NormalDist().inv_cdf(0.5 + _checked_confidence(confidence) / 2)
    rate = successes / trials
    shrink = 1 / (1 + z**2 / trials)
    centre = shrink * (rate + z**2 / (2 * trials))
    half = shrink * z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(estimate=rate, low=low, high=high)


def clopper_pearson_bound(successes: float, trials: float, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a success rate that is too small at most one time in `1 / (1 - confidence)`, whatever the rate.

    The rate at which as few successes have the probability `1 - confidence`: the quantile of `Beta(successes + 1, trials - successes)`
    (Clopper and Pearson 1934). Wilson's bound only keeps its confidence on average over rates, and near 0 is too small. Of weighted
    trials both numbers may be fractions: see `effective_number`.

    Raises:
        ValueError: When there are no trials, or successes are not between 0 and trials.
    """
    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"need 0 <= successes <= trials and trials above 0, got {successes} of {trials}")
    level = _checked_confidence(confidence)
    return 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, level))


def effective_number(weights: ArrayLike) -> float:
    """How many equal weights have a mean as uncertain as these: `(sum w)^2 / sum w^2` (Kish 1965); 0 where none is above 0.

    Args:
        weights: At least 0, shape (samples,).
    """
    values = _values(weights)
    return float(values.sum() ** 2 / np.square(values).sum()) if values.any() else 0.0


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """The two-sided p-value that two paired success rates are equal.

    Under equality each discordant pair falls on either side with probability 1/2, so with `n` of them and `k` on the smaller side
    `p = min(1, 2 sum_{i <= k} C(n, i) / 2^n)` (McNemar 1947, in its exact form). Pairs on which both agree say nothing.

    Args:
        first_only: Pairs in which only the first succeeded.
        second_only: Pairs in which only the second succeeded.

    Raises:
        ValueError: When a count is negative.
    """
    if first_only < 0 or second_only < 0:
        raise ValueError(f"counts of pairs cannot be negative, got {first_only} and {second_only}")
    discordant, smaller = first_only + second_only, min(first_only, second_only)
    tail = sum(math.comb(discordant, i) for i in range(smaller + 1))
    return min(1.0, 2 * tail / 2**discordant)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    tasks: Sequence[str],
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> Interval:
    """The mean of `second - first` over pairs, with a percentile bootstrap interval clustered by task.

    Episodes of one task are alike, so each resample draws tasks with replacement and then pairs within each drawn task
    (the two-stage bootstrap of Davison and Hinkley 1997, section 3.8). With one task this is the ordinary bootstrap.

    Args:
        first: One outcome per pair, shape (pairs,): 0 or 1, or any score.
        second: The other outcome of the same pairs, shape (pairs,).
        tasks: The task of each pair.
        rng: Source of the resamples.
        confidence: Coverage of the interval.
        num_resamples: How many resamples to draw.

    Raises:
        ValueError: When the lengths differ or there are no pairs.
    """
    before, after = _values(first), _values(second)
    if not len(before) == len(after) == len(tasks) > 0:
        raise ValueError(f"need one task and two outcomes per pair, got {len(tasks)} tasks, {len(before)} and {len(after)} outcomes")
    differences = after - before
    labels = np.asarray(tasks)
    clusters = [differences[labels == task] for task in np.unique(labels)]
    sums, counts = np.zeros(num_resamples), np.zeros(num_resamples)
    drawn = rng.integers(len(clusters), size=(num_resamples, len(clusters)))
    for index, cluster in enumerate(clusters):
        for slot in range(len(clusters)):
            rows = np.flatnonzero(drawn[:, slot] == index)
            sums[rows] += cluster[rng.integers(len(cluster), size=(len(rows), len(cluster)))].sum(axis=1)
            counts[rows] += len(cluster)
    tail = (1 - _checked_confidence(confidence)) / 2
    low, high = np.quantile(sums / counts, [tail, 1 - tail])
    return Interval(estimate=float(differences.mean()), low=float(low), high=float(high))


def clustered_interval(
    statistic: Callable[[NDArray[np.intp]], float],
    clusters: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> Interval:
    """Any statistic of samples, with a percentile bootstrap interval that draws whole clusters with replacement.

    Windows of one episode are alike, so episodes are drawn, not windows (Davison and Hinkley 1997, section 3.8).

    Args:
        statistic: From indices of samples, repeated ones included, to a number; NaN where those samples do not define it.
        clusters: The cluster of each sample, shape (samples,).
        rng: Source of the resamples.
        confidence: Coverage of the interval.
        num_resamples: How many resamples to draw.

    Raises:
        ValueError: When there are no samples, or all of them together do not define the statistic.
    """
    labels = np.asarray(clusters)
    members = [np.flatnonzero(labels == cluster) for cluster in np.unique(labels)]
    estimate = statistic(np.arange(len(labels))) if len(labels) else math.nan
    if math.isnan(estimate):
        raise ValueError(f"the {len(labels)} samples do not define the statistic")
    drawn = rng.integers(len(members), size=(num_resamples, len(members)))
    values = np.array([statistic(np.concatenate([members[i] for i in row])) for row in drawn])
    tail = (1 - _checked_confidence(confidence)) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail]) if not np.isnan(values).all() else (estimate, estimate)
    return Interval(estimate=float(estimate), low=float(low), high=float(high))


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The probability that a positive scores above a negative, ties counting one half.

    `(sum of the positives' ranks - P (P + 1) / 2) / (P N)`, the Mann-Whitney statistic (Hanley and McNeil 1982).

    Args:
        scores: Higher means more positive, shape (samples,).
        labels: Which samples are positive, shape (samples,), boolean or 0 and 1.

    Raises:
        ValueError: When lengths differ, a score is not finite, or one of the two classes is empty.
    """
    values, positive = _values(scores), np.asarray(labels).astype(bool)
    if values.shape != positive.shape:
        raise ValueError(f"need one label per score, got {positive.shape} labels for {values.shape} scores")
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_positive == 0 or num_negative == 0:
        raise ValueError(f"AUROC needs both classes, got {num_positive} positive and {num_negative} negative samples")
    rank_sum = _ranks(values)[positive].sum()
    return float((rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation in [-1, 1]: Pearson's correlation of the ranks, ties sharing their mean rank (Spearman 1904).

    Raises:
        ValueError: When lengths differ, there are fewer than two samples, or one side is constant (no order to compare).
    """
    left, right = _values(first), _values(second)
    if len(left) != len(right) or len(left) < 2:
        raise ValueError(f"need two equally long samples of at least 2, got {len(left)} and {len(right)}")
    left, right = _ranks(left), _ranks(right)
    left, right = left - left.mean(), right - right.mean()
    scale = math.sqrt(float(left @ left) * float(right @ right))
    if scale == 0:
        raise ValueError("rank correlation is undefined when one side is constant")
    return float(left @ right) / scale


def _ranks(values: Values) -> Values:
    """Ranks from 1, ties sharing their mean, shape (samples,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _values(values: ArrayLike) -> Values:
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected one number per sample, got an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a sample is not finite")
    return array


def _checked_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return confidence
