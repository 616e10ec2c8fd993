"""Decisions of rollouts with what is known of each: its score, and whether it was bad."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Decision
from tau0.evaluate.trace import EpisodeTrace

Label = Literal["wasted chunk", "failed episode"]
MODE = "rcs"
"""Only here is every decision executed by its score alone, so that what follows is what passing the gate would have led to."""


class CalibrationError(ValueError):
    """No gate can be chosen from these rollouts. The message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class ScoredDecisions:
    """The decisions of an evaluation in mode `MODE`.

    Attributes:
        scores: Of the chosen candidate, shape (d,).
        is_bad: Which should not have been executed as they were, shape (d,).
        episodes: Which episode each belongs to, shape (d,).
        num_candidates: Chunks at each decision.
        label: What bad means. "wasted chunk": every candidate was tried in the world, and after the chosen one the world's expert needs as
            many steps as before it, or cannot succeed any more. "failed episode": nothing was tried, so a decision is as bad as
            the episode that it belongs to.
    """

    scores: NDArray[np.float64]
    is_bad: NDArray[np.bool_]
    episodes: NDArray[np.intp]
    num_candidates: int
    label: Label

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each decision counts, shape (d,). Where the label is the episode's, every episode counts the same: a failure lasts
        until time is up, and has many more decisions than a success."""
        if self.label == "wasted chunk":
            return np.ones(len(self.scores))
        _, where, counts = np.unique(self.episodes, return_inverse=True, return_counts=True)
        return 1.0 / counts[where]

    @property
    def num_episodes(self) -> int:
        """How many episodes the decisions are of."""
        return len(np.unique(self.episodes))


def scored_decisions(
    traces: Sequence[EpisodeTrace], scored_by: Callable[[int], str], folders: Sequence[Path] | None = None
) -> ScoredDecisions:
    """What the traces say about scores, from those of mode `MODE`.

    Where all candidates were tried, decisions from which not even the expert succeeds in time are left out: no chunk is better there.

    Args:
        traces: Of `tau0 evaluate`; other modes are passed over.
        scored_by: Number of candidates to what the checkpoint's traces say of themselves (see `tau0.plan.spec`): the traces must be of
            the same weights and way of scoring.
        folders: Where each trace lies, to name those that do not fit.

    Raises:
        CalibrationError: There is no such trace, one is of another checkpoint, two are of one episode, they do not have one number of
            candidates, or candidates were tried in some decisions only.
    """
    usable = [trace for trace in traces if trace.mode == MODE]
    if not usable:
        modes = ", ".join(sorted({trace.mode for trace in traces})) or "none"
        raise CalibrationError(f"there is no trace of mode {MODE!r} (modes: {modes}): record some with `tau0 evaluate --modes {MODE}`")
    found = [(i, decision) for i, trace in enumerate(usable) for decision in trace.decisions if decision.proposals.scores is not None]
    counts = sorted({len(decision.proposals.actions) for _, decision in found})
    if len(counts) != 1:
        raise CalibrationError(f"decisions must be scored and have one number of candidates, got {counts or 'no scored decision'}")
    _check_origin(usable, scored_by(counts[0]))
    _check_distinct(traces, folders)
    tried = all(decision.proposals.outcomes is not None and decision.expert_steps is not None for _, decision in found)
    untried = sum(decision.proposals.outcomes is None for _, decision in found)
    if 0 < untried < len(found):
        raise CalibrationError(
            f"{untried} of {len(found)} decisions were recorded without --outcomes and the others with it, so what is bad would be told in "
            "two ways: give folders of traces that are all of one kind"
        )
    kept = [(i, d) for i, d in found if not tried or (d.expert_steps is not None and math.isfinite(d.expert_steps))]
    if not kept:
        raise CalibrationError(f"from none of {len(found)} decisions even the expert succeeds in time: allow more steps in the evaluation")
    scores = np.array([0.0 if d.proposals.scores is None else d.proposals.scores[d.chosen] for _, d in kept], np.float64)
    if not np.isfinite(scores).all():
        raise CalibrationError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
    return ScoredDecisions(
        scores=scores,
        is_bad=np.array([_is_wasted(d) if tried else not usable[i].success for i, d in kept], np.bool_),
        episodes=np.array([i for i, _ in kept], np.intp),
        num_candidates=counts[0],
        label="wasted chunk" if tried else "failed episode",
    )


def _check_origin(traces: Sequence[EpisodeTrace], expected: str) -> None:
    for trace in traces:
        if trace.scored_by != expected:
            raise CalibrationError(
                f"the trace of {trace.task}, seed {trace.seed}, is of another checkpoint, or of scores taken in another way: "
                f"it says {trace.scored_by or 'nothing'}, expected {expected}"
            )


def _check_distinct(traces: Sequence[EpisodeTrace], folders: Sequence[Path] | None) -> None:
    """Whoever counts an episode twice believes to know more than there is to know."""
    known: dict[tuple[str, int, str], str] = {}
    for trace, where in zip(traces, [""] * len(traces) if folders is None else map(str, folders), strict=True):
        if trace.mode != MODE:
            continue
        key = (trace.task, trace.seed, trace.instruction)
        if key in known:
            there = f": {known[key]} and {where}" if where else ""
            raise CalibrationError(f"{trace.task}, seed {trace.seed}, {trace.instruction!r} is there twice{there}; give each episode once")
        known[key] = where


def _is_wasted(decision: Decision) -> bool:
    """Whether the expert needs as many steps after the executed chunk as before it, or cannot succeed any more."""
    assert decision.proposals.outcomes is not None
    assert decision.expert_steps is not None
    return float(decision.proposals.outcomes[decision.chosen]) - len(decision.chunk) >= decision.expert_steps
