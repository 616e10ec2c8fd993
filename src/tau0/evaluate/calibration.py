"""The gate's threshold from rollouts: what share of decisions it simulates, and what it risks by not simulating the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tau0.checkpoint import GateConfig
from tau0.evaluate.scored_decisions import CalibrationError, ScoredDecisions
from tau0.evaluate.statistics import auroc, clopper_pearson_bound, effective_number
from tau0.plan.gate import choose_gate

NUM_CURVE_POINTS = 50
"""Thresholds of a curve, and steps of the search for one: evenly spaced by how many decisions reach them."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A gate, and what it would do on the decisions at hand.

    Attributes:
        threshold: Decisions below it are simulated.
        simulated: Share of decisions.
        precision: Of the simulated decisions, the share that was bad; NaN where none is simulated.
        recall: Of the bad decisions, the share that is simulated.
        risk: Of the decisions that pass, the share that was bad.
        risk_bound: Its upper confidence bound.
    """

    threshold: float
    simulated: float
    precision: float
    recall: float
    risk: float
    risk_bound: float


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a gate shall do: one of a share of decisions to simulate, or a risk of the others.

    Attributes:
        simulate_share: In [0, 1); None where a risk is given.
        risk: In (0, 1): of the decisions that pass, the share that may be bad, with `confidence`.
        confidence: In (0, 1), of the risk's bound.
    """

    simulate_share: float | None = None
    risk: float | None = None
    confidence: float = 0.95


def curve(decisions: ScoredDecisions, confidence: float) -> list[CurvePoint]:
    """Thresholds from the highest, which fewest decisions reach, to the lowest, which all reach."""
    ordered = np.unique(decisions.scores)[::-1]
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(NUM_CURVE_POINTS, len(ordered))).round().astype(int))
    return [point_at(decisions, float(ordered[i]), confidence) for i in picked]


def point_at(decisions: ScoredDecisions, threshold: float, confidence: float) -> CurvePoint:
    """What one gate does.

    The bound is Clopper and Pearson's for as many trials as there are episodes among the passing decisions: those of one episode are
    alike, and count as one trial, whatever their number. Where episodes weigh differently, the trials are their effective number.

    What is guaranteed: the true risk is above the bound with a probability of at most `1 - confidence`, if episodes are independent and
    drawn like those that the gate will meet, weigh the same among the decisions that pass, and are each bad as a whole or not at all.
    That is so of failed episodes under a gate that all their decisions pass. Otherwise episodes weigh differently, or are partly bad as
    with wasted chunks, and the bound is an approximation that lets its variance be a coin's of the same mean, the largest there is.
    """
    weights, bad, passes = decisions.weights, decisions.is_bad, decisions.scores >= threshold
    passing, stopped = float(weights[passes].sum()), float(weights[~passes].sum())
    passing_bad, stopped_bad = float(weights[passes & bad].sum()), float(weights[~passes & bad].sum())
    all_bad = passing_bad + stopped_bad
    risk = passing_bad / passing if passing else 0.0
    return CurvePoint(
        threshold=threshold,
        simulated=float((~passes).mean()),
        precision=stopped_bad / stopped if stopped else math.nan,
        recall=stopped_bad / all_bad if all_bad else math.nan,
        risk=risk,
        risk_bound=upper_bound(risk, _trials(decisions, threshold), confidence),
    )


def upper_bound(rate: float, trials: float, confidence: float) -> float:
    """Clopper and Pearson's one-sided upper bound of a rate seen in `trials` independent trials; 1 without any."""
    return clopper_pearson_bound(min(rate, 1.0) * trials, trials, confidence) if trials else 1.0


def threshold_for_risk(decisions: ScoredDecisions, risk: float, confidence: float) -> CurvePoint:
    """The lowest threshold whose risk is at most `risk`, with the given confidence.

    Thresholds are tested from the highest down, and the first one whose bound exceeds the risk ends the search: a fixed sequence of tests
    holds the level that each of them holds, without a correction (Angelopoulos and others 2021, "Learn then Test"); what that is and
    under which assumptions, `point_at` says. It begins where enough episodes pass that half the risk would be recognised as less than
    the risk, or where as many pass as ever do: that depends on scores alone.

    Args:
        decisions: At least one bad and one good.
        risk: In (0, 1): of the decisions that pass, the share that may be bad.
        confidence: In (0, 1).

    Raises:
        CalibrationError: There are too few episodes, one class only, or no threshold meets the risk.
    """
    if not 0 < risk < 1 or not 0 < confidence < 1:
        raise CalibrationError(f"risk and confidence must lie between 0 and 1, got {risk:g} and {confidence:g}")
    bad = int(decisions.is_bad.sum())
    if bad in (0, len(decisions.is_bad)):
        what = "none is" if bad == 0 else "all are"
        all_of = len(decisions.is_bad)
        raise CalibrationError(
            f"of {all_of} decisions {what} bad ({decisions.label}): a risk needs both kinds, so record other tasks or more"
        )
    needed = _episodes_needed(risk, confidence)
    if decisions.num_episodes < needed:
        raise CalibrationError(
            f"a risk of at most {risk:g} at {confidence:.0%} confidence needs {needed} episodes even if nothing goes wrong, "
            f"got {decisions.num_episodes}"
        )
    points = curve(decisions, confidence)
    tested = points[_first_test(decisions, points, risk, confidence) :]
    if tested[0].risk_bound > risk:
        best = tested[0]
        raise CalibrationError(
            f"no threshold meets a risk of {risk:g}: of the {1 - best.simulated:.0%} of decisions with the highest scores "
            f"{best.risk:.0%} were bad ({decisions.label}), at most {best.risk_bound:.0%} with {confidence:.0%} confidence; "
            "allow more, or record more episodes"
        )
    ends = next((i for i, point in enumerate(tested) if point.risk_bound > risk), len(tested))
    return tested[ends - 1]


def chosen_gate(decisions: ScoredDecisions, old: GateConfig, goal: Goal) -> tuple[GateConfig, CurvePoint]:
    """The old gate with a new threshold and its curve, and what it does on the decisions at hand.

    Args:
        decisions: Of rollouts.
        old: Whose margin and way of scoring are kept; the scores of the decisions were taken in this way.
        goal: A share or a risk.

    Raises:
        CalibrationError: See `threshold_for_risk`; or the share is outside [0, 1).
    """
    if goal.risk is not None:
        point = threshold_for_risk(decisions, goal.risk, goal.confidence)
        wanted = f"risk of at most {goal.risk:g} at {goal.confidence:.0%} confidence"
    else:
        if goal.simulate_share is None or not 0 <= goal.simulate_share < 1:
            raise CalibrationError(f"the share of simulated decisions must be at least 0 and below 1, got {goal.simulate_share}")
        threshold = choose_gate(decisions.scores.tolist(), 1 - goal.simulate_share).threshold
        point = point_at(decisions, threshold, goal.confidence)
        wanted = f"simulated share {goal.simulate_share:g}"
    words = (
        f"{wanted}; on {len(decisions.scores)} decisions of {decisions.num_episodes} rollouts with {decisions.num_candidates} candidates "
        f"it simulates {point.simulated:.1%}, and of those that pass {point.risk:.1%} (at most {point.risk_bound:.1%}) were bad: "
        f"{decisions.label}"
    )
    known = [one for one in curve(decisions, goal.confidence) if math.isfinite(one.precision) and math.isfinite(one.recall)]
    points = tuple((one.threshold, one.precision, one.recall) for one in known)
    return replace(old, threshold=point.threshold, num_candidates=decisions.num_candidates, chosen_by=words, curve=points), point


def ranking_quality(decisions: ScoredDecisions) -> float | None:
    """AUROC of low scores for bad decisions, one half for chance; None where there is one class only."""
    if decisions.is_bad.all() or not decisions.is_bad.any():
        return None
    return auroc(-decisions.scores, decisions.is_bad)


def _first_test(decisions: ScoredDecisions, points: Sequence[CurvePoint], risk: float, confidence: float) -> int:
    """The index of the first threshold to test: see `threshold_for_risk`."""
    passing = [_trials(decisions, point.threshold) for point in points]
    recognised = [i for i, trials in enumerate(passing) if upper_bound(risk / 2, trials, confidence) <= risk]
    return recognised[0] if recognised else passing.index(max(passing))


def _trials(decisions: ScoredDecisions, threshold: float) -> float:
    """The effective number of episodes among the decisions that pass: as many as there are, where all weigh the same."""
    passes = decisions.scores >= threshold
    return effective_number(np.bincount(decisions.episodes[passes], decisions.weights[passes]))


def _episodes_needed(risk: float, confidence: float) -> int:
    """The fewest trials whose flawless record bounds the rate by `risk`: `(1 - risk)^n <= 1 - confidence`."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-risk) - 1e-9)
