"""The gate's threshold, chosen from the scores that the checkpoint gets in real decisions (SPEC.md section 6, step 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tau0.checkpoint import GateConfig


def choose_gate(best_scores: Sequence[float], passing_share: float, sigmas: Sequence[float] = (0.6,), num_noises: int = 1) -> GateConfig:
    """The gate that the given share of decisions passes.

    The threshold is one of the observed scores: exactly `round(passing_share * n)` of them, at least one, reach it (more where scores tie).

    Args:
        best_scores: The best RCS of each of n decisions, such as those of an evaluation in mode "rcs".
        passing_share: In (0, 1]: how many decisions shall be executed without simulation.
        sigmas: Levels at which the scores were taken.
        num_noises: Noises per level with which they were taken.

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
        chosen_by=f"{passing} of {len(scores)} observed decisions reach it (wanted share {passing_share:g})",
    )
