"""What a decision means, in plain words: for people who have never heard of the project."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from tau0.contract import Candidates, Decision

Kind = Literal["direct", "gate", "simulated", "revised"]


def kind_of(decision: Decision) -> Kind:
    """What happened: executed without comparison by a gate, let through by the gate, imagined first, or revised after imagining."""
    if decision.choice == "revised":
        return "revised"
    if decision.choice == "simulated":
        return "simulated"
    return "gate" if decision.gate_passed else "direct"


def explain(decision: Decision, executed: int | None = None) -> str:
    """The decision in a few sentences, candidates counted from 1.

    Args:
        decision: Complete, as the planner recorded it.
        executed: Control steps that were really taken, where the episode ended before its chunk did.
    """
    steps = len(decision.chunk) if executed is None else executed
    return " ".join([_first(decision), *_imagined(decision), *_revised(decision), *_skipped(decision), _executed(decision, steps)])


def best_progress(candidates: Candidates) -> tuple[int, float] | None:
    """The candidate that promises most and how much that is; None where nothing was simulated.

    Of those that promise the same it is the most consistent, as for the planner. Candidates that were not imagined promise nothing.
    """
    if candidates.progress is None:
        return None
    highest = np.nan_to_num(candidates.progress.max(axis=1), nan=-math.inf).tolist()
    scores = [0.0] * len(highest) if candidates.scores is None else candidates.scores.tolist()
    best = max(range(len(highest)), key=lambda i: (highest[i], scores[i]))
    return best, highest[best]


def number(value: float, beside: float | None = None, *, tiny: int = 4) -> str:
    """Two decimals and a real minus sign; `tiny` decimals below 0.01, and up to four where two would hide a difference from `beside`."""
    digits = 2 if abs(value) >= 0.01 or value == 0 else tiny
    while beside is not None and digits < 4 and f"{value:.{digits}f}" == f"{beside:.{digits}f}":
        digits += 1
    return f"{value:z.{digits}f}".replace("-", "−")


def signed_points(share: float) -> str:
    """A difference of two shares in percentage points, with its sign and a real minus."""
    return f"{100 * share:+z.1f}".replace("+0.0", "0.0").replace("-", "−")


def plural(count: int, word: str) -> str:
    """The count and the word, in the plural unless there is one."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _first(decision: Decision) -> str:
    count = len(decision.proposals.actions)
    scores = decision.proposals.scores
    if scores is None:
        return "One plan was drawn." if count == 1 else f"{plural(count, 'plan')} were drawn and none was scored."
    top, gate = float(scores.max()), decision.gate_threshold
    if gate is None or decision.gate_passed is None:
        return f"Of {plural(count, 'candidate')}, number {int(scores.argmax()) + 1} was the most consistent, with {number(top)}."
    best = f"The best of {plural(count, 'candidate')} scored {number(top, gate)}"
    if decision.gate_passed:
        outcome = "nothing had to be imagined"
    else:
        outcome = "all were imagined" if decision.proposals.progress is not None else "it was not trusted, yet nothing was imagined"
    if not math.isfinite(gate):
        return f"{best}; the gate lets {'everything' if gate < 0 else 'nothing'} pass, so {outcome}."
    return f"{best}, {'above' if decision.gate_passed else 'below'} the gate of {number(gate, top)}, so {outcome}."


def _skipped(decision: Decision) -> list[str]:
    return [f"For lack of time not everything was done ({'; '.join(decision.skipped)})."] if decision.skipped else []


def _imagined(decision: Decision) -> list[str]:
    best = best_progress(decision.proposals)
    if best is None:
        return []
    return [f"Candidate {best[0] + 1} promised the most progress, {number(best[1], tiny=2)}."]


def _revised(decision: Decision) -> list[str]:
    best, before = (best_progress(decision.revision) if decision.revision else None), best_progress(decision.proposals)
    if decision.revision is None:
        return []
    if best is None or before is None:
        return ["A revision was drawn from that future."]
    if decision.choice == "revised":
        return [f"Planning again from that future promised {number(best[1], before[1], tiny=2)}, so the revision was kept."]
    verdict = "less" if best[1] < before[1] else "no more" if best[1] == before[1] else "hardly more"
    return [f"Planning again from that future promised {verdict}, {number(best[1], before[1], tiny=2)}, so the original was kept."]


def _executed(decision: Decision, executed: int) -> str:
    steps = plural(executed, "step")
    if len(decision.proposals.actions) == 1 and decision.revision is None:
        return f"It was executed for {steps}."
    if decision.choice == "oracle":
        among = " of those imagined" if decision.mode == "oracle-gated" else ""
        won = f"candidate {decision.chosen + 1}, which{among} ended soonest,"
        return f"All were tried in a copy of the world, and {won} was executed for {steps}."
    who = f"revised candidate {decision.chosen + 1}" if decision.choice == "revised" else f"candidate {decision.chosen + 1}"
    until = ""
    if decision.peak is not None and executed == decision.peak + 1:
        until = ", up to its own peak"
    which = {"medoid": ", the one in the middle,", "random": ", picked at random,"}.get(decision.choice, "")
    return f"{who.capitalize()}{which} was executed for {steps}{until}.{_nearly_as_much(decision)}{_stood_still(decision)}"


def _stood_still(decision: Decision) -> str:
    """Why it was not the most consistent candidate, where consistency alone chose: one that stands still may not win."""
    scores = decision.proposals.scores
    if decision.choice != "rcs" or scores is None or scores[decision.chosen] >= scores.max():
        return ""
    return f" Candidate {int(scores.argmax()) + 1} was more consistent, but it hardly moves."


def _nearly_as_much(decision: Decision) -> str:
    """Why it was not the candidate that promised most: differences within the simulator's own noise do not count."""
    considered = decision.revision if decision.choice == "revised" and decision.revision is not None else decision.proposals
    best = best_progress(considered)
    if best is None or considered.progress is None or decision.choice == "rcs" or best[0] == decision.chosen:
        return ""
    promised = number(float(considered.progress[decision.chosen].max()), best[1], tiny=2)
    return f" It promised {promised}, as much within the simulator's noise, and was the more consistent."
