"""Whether imagined motion goes where it should: the robot's state is read from imagined pictures and compared with what it really did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from tau0.evaluate.simulator_intervals import percentiles, ratio_interval
from tau0.evaluate.simulator_results import DirectionCard
from tau0.evaluate.statistics import Interval

Values = NDArray[np.float64]

NUM_FOLDS = 5
PENALTIES = (1e1, 1e2, 1e3, 1e4)
NUM_RESAMPLES = 1000


def direction_card(
    frames: Float[np.ndarray, "n f d"],
    states: Float[np.ndarray, "n f ds"],
    imagined: Mapping[str, Float[np.ndarray, "n d"]],
    donors: Int64[np.ndarray, " n"],
    families: Int64[np.ndarray, " n"],
    names: Sequence[str],
    rng: np.random.Generator,
) -> DirectionCard | None:
    """The card; None where no number of the state changes, or there are fewer families than folds.

    A linear map from latent frames to the state is fitted to real frames of other episodes (ridge regression, five folds of whole
    families), and then reads how far the state moved from the current frame to the last imagined one.

    Args:
        frames: Real latent frames of every window, flat: the current one and the future ones.
        states: What was measured at these.
        imagined: Last future frame, flat: with the own actions ("future"), and "negated", "zeroed" and "swapped" ones.
        donors: The window whose actions each window was given when swapped.
        families: What an interval draws as one.
        names: Of the numbers of the state.
        rng: Source of the intervals.
    """
    moved = states[:, -1] - states[:, 0]
    scale = moved.std(axis=0)
    known = scale > 1e-6 * np.abs(states).max(axis=(0, 1)).clip(min=1e-12)
    if not known.any() or len(np.unique(families)) < NUM_FOLDS:
        return None
    read = _read(frames, states[..., known] / scale[known], imagined, families)
    real, moved = read.pop("real"), moved[:, known] / scale[known]

    def along(displacement: Values, truth: Values) -> Interval:
        return correlation_interval(displacement, truth, families, rng)

    own, zero = (np.square(read[name]).sum(axis=1) for name in ("future", "zeroed"))
    return DirectionCard(
        numbers=tuple(name for name, is_known in zip(names, known.tolist(), strict=True) if is_known),
        read_from_real=along(real, moved),
        own=along(read["future"], moved),
        negated=along(read["negated"], moved),
        swapped=along(read["swapped"], moved[donors]),
        motion_when_zeroed=ratio_interval(zero, own, families, rng),
    )


def correlation_interval(first: Values, second: Values, clusters: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Interval:
    """Pearson's correlation over samples, the mean over columns, with a percentile bootstrap interval that draws whole clusters."""
    _, of = np.unique(clusters, return_inverse=True)
    num = int(of.max()) + 1
    terms = np.stack([np.ones_like(first), first, second, first**2, second**2, first * second])
    sums = np.stack([[np.bincount(of, column, num) for column in term.T] for term in terms])
    resampled = sums[..., rng.integers(num, size=(NUM_RESAMPLES, num))].sum(axis=-1)
    return percentiles(float(_correlation(sums.sum(axis=-1))), _correlation(resampled))


def _correlation(sums: Values) -> Values:
    """From sums of 1, x, y, x², y² and xy, shape (6, columns, ...); 0 for a column in which one side is constant."""
    n, x, y, xx, yy, xy = sums
    covariance, spread = xy - x * y / n, np.sqrt(np.clip((xx - x**2 / n) * (yy - y**2 / n), 0, None))
    return np.where(spread > 1e-9 * n, covariance / np.maximum(spread, 1e-300), 0.0).mean(axis=0)


def _read(frames: Values, states: Values, imagined: Mapping[str, Values], families: NDArray[np.int64]) -> dict[str, Values]:
    """Displacements read from the last frame less that from the current one, by what imagined it, and "real" for the true one."""
    fold = np.unique(families, return_inverse=True)[1] % NUM_FOLDS
    shown = {**imagined, "real": frames[:, -1]}
    penalty = min(PENALTIES, key=lambda value: _error(frames, states, fold, value))
    found = {name: np.zeros(states[:, 0].shape) for name in shown}
    for k in range(NUM_FOLDS):
        here = fold == k
        reader = _Reader(_flat(frames[~here]), _flat(states[~here]), penalty)
        current = reader(frames[here, 0])
        for name, last in shown.items():
            found[name][here] = reader(last[here]) - current
    return found


def _error(frames: Values, states: Values, fold: NDArray[np.int64], penalty: float) -> float:
    """Squared error of displacements on real frames left out."""
    total = 0.0
    for k in range(NUM_FOLDS):
        reader, here = _Reader(_flat(frames[fold != k]), _flat(states[fold != k]), penalty), fold == k
        moved = reader(frames[here, -1]) - reader(frames[here, 0])
        total += float(np.square(moved - states[here, -1] + states[here, 0]).sum())
    return total


def _flat(array: Values) -> Values:
    return array.reshape(-1, array.shape[-1])


class _Reader:
    """Ridge regression in its dual form, as there are more numbers in a frame than frames."""

    def __init__(self, x: Values, y: Values, penalty: float) -> None:
        self._x_mean, self._y_mean = x.mean(axis=0), y.mean(axis=0)
        centred = x - self._x_mean
        kernel = centred @ centred.T
        self._weights = centred.T @ np.linalg.solve(kernel + penalty * np.eye(len(x)), y - self._y_mean)

    def __call__(self, x: Values) -> Values:
        return (x - self._x_mean) @ self._weights + self._y_mean
