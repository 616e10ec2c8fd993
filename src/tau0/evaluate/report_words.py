"""What a decision means, in plain words: for people who have never heard of the project."""

from __future__ import annotations

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


def explain(decision: Decision) -> str:
    """The decision in one to three sentences. Candidates are counted from 1, numbers have two decimals."""
    return " ".join([_first(decision), *_imagined(decision), *_revised(decision), _executed(decision)])


def best_progress(candidates: Candidates) -> tuple[int, float] | None:
    """The candidate that promises most and how much that is; None where nothing was simulated."""
    if candidates.progress is None:
        return None
    highest = candidates.progress.max(axis=1)
    return int(highest.argmax()), float(highest.max())


def number(value: float) -> str:
    """Two decimals and a real minus sign; more decimals where two would show nothing."""
    digits = 2 if abs(value) >= 0.01 or value == 0 else 4
    return f"{value:.{digits}f}".replace("-", "−")


def plural(count: int, word: str) -> str:
    """The count and the word, in the plural unless there is one."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _first(decision: Decision) -> str:
    count = len(decision.proposals.actions)
    scores = decision.proposals.scores
    if scores is None:
        return "One plan was drawn." if count == 1 else f"{plural(count, 'plan')} were drawn and none was scored."
    best = number(float(scores.max()))
    if decision.gate_threshold is None or decision.gate_passed is None:
        return f"Of {plural(count, 'candidate')}, number {int(scores.argmax()) + 1} was the most consistent, with {best}."
    gate = number(decision.gate_threshold) if np.isfinite(decision.gate_threshold) else "any score"
    if decision.gate_passed:
        return f"The best of {plural(count, 'candidate')} scored {best}, above the gate of {gate}, so nothing had to be imagined."
    return f"The best of {plural(count, 'candidate')} scored {best}, below the gate of {gate}, so all were imagined."


def _imagined(decision: Decision) -> list[str]:
    best = best_progress(decision.proposals)
    if best is None:
        return []
    return [f"Candidate {best[0] + 1} promised the most progress, {number(best[1])}."]


def _revised(decision: Decision) -> list[str]:
    best, before = (best_progress(decision.revision) if decision.revision else None), best_progress(decision.proposals)
    if decision.revision is None:
        return []
    if best is None or before is None:
        return ["A revision was drawn from that future."]
    if decision.choice == "revised":
        return [f"Planning again from that future promised {number(best[1])}, so the revision was kept."]
    verdict = "less" if best[1] < before[1] else "no more"
    return [f"Planning again from that future promised {verdict}, {number(best[1])}, so the original was kept."]


def _executed(decision: Decision) -> str:
    steps = plural(len(decision.chunk), "step")
    if len(decision.proposals.actions) == 1 and decision.revision is None:
        return f"It was executed for {steps}."
    who = f"revised candidate {decision.chosen + 1}" if decision.choice == "revised" else f"candidate {decision.chosen + 1}"
    until = ""
    if decision.peak is not None and len(decision.chunk) == decision.peak + 1:
        until = ", up to its own peak"
    return f"{who.capitalize()} was executed for {steps}{until}."
