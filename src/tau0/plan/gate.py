"""The gate's threshold and margin, chosen from the scores that the checkpoint gets in real decisions (SPEC.md section 6, step 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tau0.checkpoint import GateConfig, ScoreError
from tau0.plan.selectors import SELECTORS, Mode


def choose_gate(
    best_scores: Sequence[float],
    passing_share: float,
    sigmas: Sequence[float] = (0.6,),
    num_noises: int = 1,
    margin: float = 0.0,
    error: ScoreError = "absolute",
) -> GateConfig:
    """The gate that the given share of decisions passes.

    The threshold is one of the observed scores: exactly `round(passing_share * n)` of them, at least one, reach it (more where scores tie).

    Args:
        best_scores: The best RCS of each of n decisions, such as those of an evaluation in mode "rcs".
        passing_share: In (0, 1]: how many decisions shall be executed without simulation.
        sigmas: Levels at which the scores were taken.
        num_noises: Noises per level with which they were taken.
        margin: See `choose_margin`.
        error: Of which kind the scores are.

    Raises:
        ValueError: When there is no score, one is not finite, or the share is outside (0, 1].
    """
    scores = np.sort(np.asarray(best_scores, np.float64))
    if not len(scores) or not np.isfinite(scores).all():
        unusable = int((~np.isfinite(scores)).sum())
        raise ValueError(f"a gate is chosen from one finite score or more, got {len(scores)}, of which {unusable} are not finite")
    if not 0 < passing_share <= 1:
        raise ValueError(f"passing_share must be above 0 and at most 1, got {passing_share}")
    passing = max(1, round(passing_share * len(scores)))
    return GateConfig(
        threshold=float(scores[len(scores) - passing]),
        sigmas=tuple(sigmas),
        num_noises=num_noises,
        error=error,
        margin=margin,
        chosen_by=f"{passing} of {len(scores)} observed decisions reach it (wanted share {passing_share:g})",
    )


def other_number(gate: GateConfig | None, mode: Mode, num_candidates: int, threshold: float | None) -> str | None:
    """What changes where a mode asks the gate with another number of candidates than it was chosen for; None where nothing does.

    Args:
        gate: The checkpoint's.
        mode: Not every mode asks a gate.
        num_candidates: Chunks a round.
        threshold: Given by hand instead of the gate's.
    """
    asks = SELECTORS[mode].simulates == "gate" and threshold is None
    if not asks or gate is None or gate.num_candidates in (0, num_candidates):
        return None
    best, passing = ("higher", "more") if num_candidates > gate.num_candidates else ("lower", "fewer")
    return (
        f"the gate was calibrated with {_candidates(gate.num_candidates)}; with {num_candidates} the best score is {best} and {passing} "
        "decisions pass: calibrate again"
    )


def _candidates(count: int) -> str:
    return f"{count} candidate" if count == 1 else f"{count} candidates"


def choose_margin(promises: NDArray[np.float64], deviations: float = 2.0) -> float:
    """The difference in promised progress between two chunks that the simulator's own noise rarely makes.

    Imagined twice from one observation, with noise that the candidates share but the two times do not, the same two chunks differ by
    two different amounts. What changes from one time to the other is noise, whatever the simulator is right about.

    Args:
        promises: `J = max progress` of n candidates at w observations, under two noises, shape (2, w, n).
        deviations: Standard deviations of that noise.

    Returns:
        The margin, at least 0; 0 where there is nothing to compare.
    """
    if promises.size == 0 or promises.shape[2] < 2:
        return 0.0
    first, second = promises - promises.mean(axis=2, keepdims=True)
    num = promises.shape[2]
    return deviations * float(np.sqrt(np.square(first - second).mean() * num / (num - 1)))
