"""Whether what a planner believes of its candidates is true: its ranking against what each of them really led to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from tau0.contract import Decision
from tau0.evaluate.one_evaluation import check_one_wording
from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.statistics import Interval, clustered_interval
from tau0.evaluate.trace import EpisodeTrace, read_trace
from tau0.evaluate.workers import Episode, Recording

Ranking = Callable[[Decision], float | None]
"""How well the candidates of a decision, all of them tried, are ranked, in [0, 1]: NaN with nothing to rank, None for no opinion."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well one belief of one mode ranks.

    Attributes:
        mode: Whose decisions.
        belief: "choice" (the executed candidate above each other), "score" or "progress" (its highest, simulated).
        decisions: Those with two outcomes that differ and a belief: the others have nothing to rank.
        episodes: How many episodes those belong to.
        of: Decisions in which all candidates were tried.
        concordance: Of pairs of candidates with different outcomes, the share that is ranked as the outcomes are, ties one half, each
            decision counting the same; chance is one half. The interval draws episodes again.
    """

    mode: str
    belief: str
    decisions: int
    episodes: int
    of: int
    concordance: Interval | None


def concordance(beliefs: NDArray[np.float64], outcomes: NDArray[np.float64]) -> float:
    """Share of pairs with different outcomes (fewer steps are better) that are ranked so, ties one half; NaN without such a pair."""
    better = outcomes[:, None] < outcomes[None]
    above = (beliefs[:, None] > beliefs[None]) + 0.5 * (beliefs[:, None] == beliefs[None])
    known = better & np.isfinite(beliefs[:, None]) & np.isfinite(beliefs[None])
    return float(above[known].mean()) if known.any() else float("nan")


def choice_concordance(chosen: int, outcomes: NDArray[np.float64]) -> float:
    """Share of the candidates with another outcome than the chosen one's that have a worse one; NaN where all are as good."""
    others = outcomes[outcomes != outcomes[chosen]]
    return float((others > outcomes[chosen]).mean()) if len(others) else float("nan")


def agreements(folder: Path, records: Sequence[EpisodeRecord]) -> list[Agreement]:
    """The agreement of every belief in the traces of the given episodes, by mode.

    Args:
        folder: Where `tau0 evaluate` put traces; those without outcomes are passed over.
        records: Which episodes.

    Raises:
        TraceError: A trace is damaged.
        RecordsError: The episodes mix the world's own wording and others.
    """
    check_one_wording(records)
    recording = Recording(folder=folder)
    episodes = [(Episode(task=r.result.task, seed=r.result.seed, instruction=r.requested_instruction), r.result.mode) for r in records]
    paths = [recording.trace_folder(episode, mode) for episode, mode in episodes]
    traces = [read_trace(path) for path in dict.fromkeys(paths) if path.is_dir()]
    return [
        found
        for mode in dict.fromkeys(trace.mode for trace in traces)
        for name, ranking in _RANKINGS.items()
        if (found := _agreement(mode, name, ranking, [trace for trace in traces if trace.mode == mode])) is not None
    ]


def agreement_table(found: Sequence[Agreement]) -> Table:
    """For a terminal."""
    caption = (
        "Of two candidates with different outcomes, how often the better one is believed better; chance is 50%. Outcome: control steps "
        "until success, the chunk's and the expert's after it. Only decisions whose candidates differ can be ranked."
    )
    table = Table(title="what is believed of candidates and what they really lead to", caption=caption)
    for name in ("mode", "belief", "decisions with a difference", "ranked as reality does"):
        table.add_column(name, justify="left" if name in ("mode", "belief") else "right")
    for one in found:
        interval = one.concordance
        said = "–" if interval is None else f"{interval.estimate:.0%}"
        said += f" [{interval.low:.0%}, {interval.high:.0%}]" if interval is not None and one.episodes > 1 else ""
        table.add_row(one.mode, one.belief, f"{one.decisions} of {one.of}", said)
    return table


def _agreement(mode: str, name: str, ranking: Ranking, traces: Sequence[EpisodeTrace]) -> Agreement | None:
    """None where no decision holds outcomes, or none such a belief."""
    tried = [(episode, decision) for episode, trace in enumerate(traces) for decision in trace.decisions if _is_tried(decision)]
    found = [(episode, value) for episode, decision in tried if (value := ranking(decision)) is not None]
    if not found:
        return None
    ranked = [(episode, value) for episode, value in found if not np.isnan(value)]
    values = np.array([value for _, value in ranked])
    episodes = [episode for episode, _ in ranked]
    interval = clustered_interval(lambda rows: float(values[rows].mean()), episodes, np.random.default_rng(0)) if ranked else None
    return Agreement(mode=mode, belief=name, decisions=len(ranked), episodes=len(set(episodes)), of=len(tried), concordance=interval)


def _is_tried(decision: Decision) -> bool:
    return decision.proposals.outcomes is not None and len(decision.proposals.actions) > 1


def _outcomes(decision: Decision) -> NDArray[np.float64]:
    return np.asarray(decision.proposals.outcomes, np.float64)


def _by_choice(decision: Decision) -> float | None:
    """The oracle's own choice and a revised one say nothing of how the first round was ranked."""
    return None if decision.choice in ("oracle", "revised") else choice_concordance(decision.chosen, _outcomes(decision))


def _by_score(decision: Decision) -> float | None:
    scores = decision.proposals.scores
    return None if scores is None else concordance(scores.astype(np.float64), _outcomes(decision))


def _by_progress(decision: Decision) -> float | None:
    progress = decision.proposals.progress
    return None if progress is None else concordance(progress.max(axis=1).astype(np.float64), _outcomes(decision))


_RANKINGS: dict[str, Ranking] = {"choice": _by_choice, "score": _by_score, "progress": _by_progress}
