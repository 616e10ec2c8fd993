"""How decisions were made over a whole run, and what they cost: counts and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tau0.evaluate.report_words import kind_of
from tau0.evaluate.trace import EpisodeTrace

STAGES = {
    "encode": "turn camera pictures into the model's own language",
    "propose": "draw the candidate plans",
    "score": "ask which plans it believes in",
    "simulate": "imagine where each plan leads",
    "revise": "plan again from the best future, and check it",
}


def timings_figure(traces: Sequence[EpisodeTrace]) -> dict[str, Any]:
    """Median and 95th percentile in milliseconds, of each stage where it happened and of whole decisions."""
    spent = [decision.milliseconds for trace in traces for decision in trace.decisions if decision.milliseconds]

    def row(stage: str, meaning: str) -> dict[str, Any] | None:
        values = [times[stage] for times in spent if times.get(stage, 0) > 0]
        if not values:
            return None
        median, p95 = np.percentile(values, [50, 95])
        return {"stage": stage, "meaning": meaning, "median": float(median), "p95": float(p95), "count": len(values)}

    others = {stage: "" for times in spent for stage in times if stage not in STAGES and stage != "total"}
    rows = [found for stage, meaning in {**STAGES, **others}.items() if (found := row(stage, meaning))]
    total = row("total", "the whole decision")
    longest = max([found["p95"] for found in (*rows, total) if found], default=1.0)
    return {"rows": rows, "total": total, "longest": longest, "decisions": len(spent)}


def funnel_figure(traces: Sequence[EpisodeTrace]) -> dict[str, Any]:
    """How many decisions there were, and how far each went."""
    decisions = [decision for trace in traces for decision in trace.decisions]
    kinds = [kind_of(decision) for decision in decisions]
    rounds = [one for decision in decisions for one in (decision.proposals, decision.revision) if one is not None]
    return {
        "decisions": len(decisions),
        "candidates": max((len(decision.proposals.actions) for decision in decisions), default=0),
        "horizon": max((decision.proposals.actions.shape[1] for decision in decisions), default=0),
        "scored": any(decision.proposals.scores is not None for decision in decisions),
        "gated": any(decision.gate_threshold is not None for decision in decisions),
        "passed": sum(decision.gate_passed is True for decision in decisions),
        "imagined": sum(decision.proposals.progress is not None for decision in decisions),
        "futures": sum(int(np.isfinite(one.progress).all(axis=1).sum()) for one in rounds if one.progress is not None),
        "tried": sum(decision.revision is not None for decision in decisions),
        "revised": kinds.count("revised"),
    }
