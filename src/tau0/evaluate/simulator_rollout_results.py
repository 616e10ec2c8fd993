"""When rollouts break: how many seconds of imagination are still nearer to the truth than the picture from which it began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.evaluate.simulator_intervals import NUM_RESAMPLES, mean_interval, one_minus, percentiles, ratio_interval
from tau0.evaluate.simulator_results import RolloutCard, RolloutFrame
from tau0.evaluate.statistics import Interval

Values = NDArray[np.float64]

FEWEST = 6
"""Rollouts that a frame must be compared on: a break found on fewer would be that of an episode, not of the simulator."""


@dataclass(frozen=True, kw_only=True)
class RolloutErrors:
    """Frame by frame, a rollout each row, NaN after its end.

    Attributes:
        seconds: Since the start, of every frame.
        imagined: Mean squared latent error, shape (rollouts, frames).
        copied: That of the first frame repeated.
        late: That of the true frames one window earlier: of a camera that is late by as much as the simulator looks ahead at once.
        psnr_imagined: In dB, the mean over views, against what the cameras saw; None without recorded pictures.
        psnr_copied: That of the first frame repeated, through the same autoencoder.
    """

    seconds: tuple[float, ...]
    imagined: Values
    copied: Values
    late: Values
    psnr_imagined: Values | None = None
    psnr_copied: Values | None = None


def rollout_card(errors: RolloutErrors, rng: np.random.Generator) -> RolloutCard:
    """What the errors come to. Every rollout is of an episode of its own, so intervals draw rollouts."""
    exists = np.isfinite(errors.imagined)
    compared = exists.sum(axis=0) >= min(FEWEST, len(exists))
    breaks = np.array([_break(imagined[e], copied[e]) for imagined, copied, e in zip(errors.imagined, errors.copied, exists, strict=True)])
    rollouts = np.arange(len(exists))
    horizon, is_broken = _horizon(errors, errors.copied, compared, rng)
    late, is_late = _horizon(errors, errors.late, compared, rng)
    return RolloutCard(
        num_rollouts=len(exists),
        horizon_s=horizon,
        is_broken=is_broken,
        late_horizon_s=late,
        is_late=is_late,
        unbroken=mean_interval(breaks == exists.sum(axis=1), rollouts, rng),
        lasted=ratio_interval(breaks, exists.sum(axis=1), rollouts, rng),
        frames=tuple(_frame(errors, t, rng) for t in np.flatnonzero(compared).tolist()),
    )


def _break(imagined: Values, copied: Values) -> int:
    """Frames until the imagined one is never again nearer to the truth than the first frame; all of them where it still is at the end."""
    nearer = np.flatnonzero(imagined < copied)
    return int(nearer[-1]) + 1 if len(nearer) else 0


def _horizon(errors: RolloutErrors, other: Values, compared: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Interval, bool]:
    """Seconds until the summed error of all rollouts stays above the other's, and whether it does before the recordings end."""
    times = np.array([0.0, *errors.seconds])[: int(compared.sum()) + 1]
    excess = np.nan_to_num(errors.imagined - other)[:, compared]
    drawn = rng.integers(len(excess), size=(NUM_RESAMPLES, len(excess)))

    def last_better(sums: Values) -> NDArray[np.int64]:
        better = sums < 0
        return np.where(better.any(axis=1), better.shape[1] - better[:, ::-1].argmax(axis=1), 0)

    found = int(last_better(excess.sum(axis=0)[None])[0])
    weights = np.stack([np.bincount(row, minlength=len(excess)) for row in drawn])
    return percentiles(float(times[found]), times[last_better(weights @ excess)]), found < int(compared.sum())


def _frame(errors: RolloutErrors, t: int, rng: np.random.Generator) -> RolloutFrame:
    alive = np.flatnonzero(np.isfinite(errors.imagined[:, t]))
    imagined, copied = errors.imagined[alive, t], errors.copied[alive, t]
    psnr = [
        None if values is None else mean_interval(values[alive, t], alive, rng) for values in (errors.psnr_imagined, errors.psnr_copied)
    ]
    return RolloutFrame(
        seconds=errors.seconds[t],
        num_rollouts=len(alive),
        gain=_gain(imagined, copied, alive, rng),
        gain_late=_gain(imagined, errors.late[alive, t], alive, rng),
        psnr_imagined_db=psnr[0],
        psnr_copied_db=psnr[1],
    )


def _gain(error: Values, other: Values, rollouts: NDArray[np.int64], rng: np.random.Generator) -> Interval | None:
    return one_minus(ratio_interval(error, other, rollouts, rng)) if other.sum() > 0 else None
