"""The results of a run as the report's page shows them: the modes side by side, each task, and where success is lost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.groups import group_rate, whole_groups
from tau0.evaluate.loss_split import NEEDED, LossSplit, split_loss
from tau0.evaluate.one_evaluation import check_one_evaluation, check_one_wording
from tau0.evaluate.points import all_alike, says_nothing_of_others
from tau0.evaluate.records import EpisodeRecord, RecordsError
from tau0.evaluate.report_words import plural, signed_points
from tau0.evaluate.statistics import Interval
from tau0.evaluate.table import Comparison, ModeSummary, Rate, summarize
from tau0.evaluate.trace import EpisodeTrace

MODES = {
    "single": "the first plan drawn",
    "random": "any of the plans",
    "medoid": "the plan in the middle",
    "rcs": "the plan believed in most",
    "progress": "the plan that promises most",
    "unrevised": "imagines where unsure",
    "full": "imagines where unsure, and revises",
    "oracle": "tries all plans in the real physics",
    "oracle-gated": "tries the imagined ones where unsure",
}
ORACLES = ("oracle", "oracle-gated")
PART_WORDS = {
    "solved by the first sample": "What the policy does without thinking: one plan is drawn and executed.",
    "covered by the proposals": "What could be reached: of the plans drawn, the one is executed that really leads there soonest.",
    "lost: no candidate leads there": "Not even the best of the plans drawn would have done.",
    "lost: the score trusts or imagines worse candidates": "A good plan was drawn, but others were believed in: executed, or imagined.",
    "lost: the simulator errs": "The gate asked for a second thought, and what was imagined misled.",
    "gained by revision": "Planning again from the most promising future.",
    "solved by the full loop": "Propose, score, imagine where unsure, revise.",
}
MAX_SEEDS_IN_STRIP = 80
SIGNIFICANT = 0.05


def ordered_modes(modes: Sequence[str]) -> list[str]:
    """Each mode once: the simplest first, unknown ones last."""
    present = set(modes)
    return [mode for mode in MODES if mode in present] + sorted(present - MODES.keys())


def headline_mode(modes: Sequence[str]) -> str:
    """The mode that the page is about: the full loop, or else the last that a robot could use."""
    ordered = ordered_modes(modes)
    usable = [mode for mode in ordered if mode not in ORACLES]
    return "full" if "full" in ordered else (usable or ordered)[-1]


def records_of(traces: Sequence[EpisodeTrace]) -> tuple[EpisodeRecord, ...]:
    """What an evaluation would have written down of these episodes."""
    return tuple(EpisodeRecord(result=_result(trace), fingerprint="", requested_instruction=None, max_steps=0) for trace in traces)


def results_figure(records: Sequence[EpisodeRecord], groups: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """The main table, the table of tasks, and one sentence about both.

    Args:
        records: At least one. Modes are compared with the simplest one that is there, episode by episode.
        groups: Name to tasks: those of which every task was run get a row of their own.

    Raises:
        RecordsError: They are not of one evaluation, or mix wordings.
    """
    check_one_evaluation(records)
    check_one_wording(records)
    rank = {mode: i for i, mode in enumerate(ordered_modes([record.result.mode for record in records]))}
    ordered = sorted(records, key=lambda record: rank[record.result.mode])
    summaries = summarize(ordered)
    tasks = list(dict.fromkeys(record.result.task for record in records))
    headline = next(one for one in summaries if one.mode == headline_mode(list(rank)))
    return {
        "modes": [_mode_row(one, of_headline=one is headline, first=summaries[0].mode) for one in summaries],
        "first": summaries[0].mode,
        "headline": _mode_row(headline, of_headline=True, first=summaries[0].mode),
        "others": [_mode_row(one, of_headline=False, first=summaries[0].mode) for one in summaries if one is not headline],
        "has_gain": any(one.against_first for one in summaries),
        "spread": _spread(summaries),
        "tasks": [{"task": task, "cells": [_cell(ordered, one, task) for one in summaries]} for task in tasks],
        "groups": _group_rows(summaries, tasks, groups or {}),
        "num_tasks": len(tasks),
        "num_episodes": summaries[0].pooled.trials,
        "verdict": _verdict(headline, summaries[0].mode),
    }


def loss_figure(records: Sequence[EpisodeRecord]) -> dict[str, Any] | None:
    """Where success is lost, as bars that hang from one another; None where the modes for it were not run."""
    if not {record.result.mode for record in records} >= set(NEEDED):
        return None
    try:
        split = split_loss(records)
    except RecordsError:
        return None
    return {"episodes": split.episodes, "tasks": split.tasks, "parts": _loss_parts(split)}


def _result(trace: EpisodeTrace) -> EpisodeResult:
    decisions = trace.decisions
    spent = [decision.milliseconds["total"] for decision in decisions if "total" in decision.milliseconds]
    return EpisodeResult(
        task=trace.task,
        instruction=trace.instruction,
        seed=trace.seed,
        mode=trace.mode,
        success=trace.success,
        steps=trace.num_steps,
        decisions=len(decisions),
        gates_passed=sum(decision.gate_passed is True for decision in decisions),
        simulated=sum(decision.proposals.progress is not None for decision in decisions),
        revised=sum(decision.revision is not None for decision in decisions),
        revisions_kept=sum(decision.choice == "revised" for decision in decisions),
        seconds=trace.seconds,
        decision_ms=statistics.median(spent) if spent else 0.0,
    )


def _share(rate: Rate) -> dict[str, Any]:
    return {"successes": rate.successes, "trials": rate.trials, **_percent(rate.interval)}


def _percent(interval: Interval) -> dict[str, float]:
    return {"percent": 100 * interval.estimate, "low": 100 * interval.low, "high": 100 * interval.high}


def _mode_row(summary: ModeSummary, *, of_headline: bool, first: str) -> dict[str, Any]:
    return {
        "mode": summary.mode,
        "meaning": MODES.get(summary.mode, ""),
        "is_headline": of_headline,
        "is_oracle": summary.mode in ORACLES,
        "average": 100 * summary.average,
        "ms": summary.decision_ms,
        "gain": None if summary.against_first is None else _gain(summary.against_first, first),
        **_share(summary.pooled),
    }


def _gain(comparison: Comparison, first: str) -> dict[str, Any]:
    return {
        "pairs": comparison.pairs,
        "won": comparison.gained,
        "lost": comparison.lost,
        "p": _p_text(comparison.p_value),
        "is_sure": _is_sure(comparison),
        "over": first,
        "words": signed_points(comparison.difference.estimate),
        "ends": _difference_ends(comparison.difference),
        "aside": _aside(comparison.difference),
        **_percent(comparison.difference),
    }


def _p_text(p_value: float) -> str:
    return f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"


def _spread(summaries: Sequence[ModeSummary]) -> float:
    """Points that the axis of differences reaches to either side: all intervals fit."""
    ends = [abs(end) for one in summaries if (gain := one.against_first) for end in (gain.difference.low, gain.difference.high)]
    return max(5.0, 100 * max(ends, default=0.0) * 1.08)


def _cell(records: Sequence[EpisodeRecord], summary: ModeSummary, task: str) -> dict[str, Any] | None:
    """A task's rate in one mode, and its episodes one by one in the order of their seeds."""
    rate = summary.by_task.get(task)
    if rate is None:
        return None
    of_task = [record.result for record in records if record.result.task == task]
    seeds = sorted({result.seed for result in of_task})
    outcomes = {result.seed: result.success for result in of_task if result.mode == summary.mode}
    strip = None
    if 1 < len(seeds) <= MAX_SEEDS_IN_STRIP:
        strip = {
            "width": 4 * len(seeds),
            "solved": _boxes([i for i, seed in enumerate(seeds) if outcomes.get(seed) is True]),
            "failed": _boxes([i for i, seed in enumerate(seeds) if outcomes.get(seed) is False]),
        }
    return {"mode": summary.mode, "strip": strip, **_share(rate)}


def _group_rows(summaries: Sequence[ModeSummary], tasks: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    rows = []
    for name in whole_groups(tasks, groups):
        rates = [group_rate(summary, groups[name]) for summary in summaries]
        cells = [None if rate is None else {"mode": one.mode, **_share(rate)} for one, rate in zip(summaries, rates, strict=True)]
        rows.append({"name": f"{name}, {plural(len(groups[name]), 'task')}", "cells": cells})
    return rows


def _boxes(columns: Sequence[int]) -> str:
    """The `d` of one SVG path that draws a box in each column, four units wide."""
    return "".join(f"M{4 * column + 0.4:g} 0h3.2v8h-3.2z" for column in columns)


def _verdict(headline: ModeSummary, first: str) -> str:
    gain = headline.against_first
    if gain is None:
        return ""
    difference = gain.difference
    more = "more" if difference.estimate > 0 else "fewer"
    amount = f"{100 * abs(difference.estimate):.1f} points {more} than" if gain.gained != gain.lost else "as many as"
    start = f"On the same {plural(gain.pairs, 'initial state')}, “{headline.mode}” solves {amount} “{first}”"
    ends = _aside(difference)
    counts = f"{gain.gained} only with “{headline.mode}”, {gain.lost} only with “{first}”"
    return f"{start} ({ends}; {counts}; {_p_text(gain.p_value)}). {_chance(gain)}"


def _is_sure(comparison: Comparison) -> bool:
    """Whether both the test on these episodes and the interval for tasks like these leave no room for no difference."""
    return comparison.p_value < SIGNIFICANT and (comparison.difference.low > 0 or comparison.difference.high < 0)


def _chance(gain: Comparison) -> str:
    if _is_sure(gain):
        return "Chance alone would hardly have made this difference."
    if gain.p_value < SIGNIFICANT:
        return "On these tasks chance alone would hardly have made this difference; on others like them it may not be there."
    return "Chance alone could well have made this difference."


def _loss_parts(split: LossSplit) -> list[dict[str, Any]]:
    parts, level = [], 1.0
    for part in split.parts:
        share = part.share
        start = 0.0 if part.is_rate else level
        end = share.estimate if part.is_rate else level + share.estimate
        low, high = start + share.low, start + share.high
        level = level if part.is_rate else end
        parts.append(
            {
                "name": part.name,
                "about": PART_WORDS.get(part.name, ""),
                "kind": "whole" if part.is_rate else "loss" if share.estimate < 0 else "gain" if share.estimate > 0 else "nothing",
                "words": f"{100 * share.estimate:.0f}%" if part.is_rate else f"{signed_points(share.estimate)} points",
                "ends": _ends(share, is_rate=part.is_rate),
                "left": 100 * min(start, end),
                "width": 100 * abs(end - start),
                "low": 100 * min(max(low, 0.0), 1.0),
                "high": 100 * min(max(high, 0.0), 1.0),
            }
        )
    return parts


def _ends(share: Interval, *, is_rate: bool) -> str:
    if is_rate:
        return f"{100 * share.low:.0f} to {100 * share.high:.0f}%"
    return _difference_ends(share)


def _difference_ends(difference: Interval) -> str:
    if says_nothing_of_others(difference):
        return all_alike(difference)
    return f"{signed_points(difference.low)} to {signed_points(difference.high)}"


def _aside(difference: Interval) -> str:
    return _difference_ends(difference) if says_nothing_of_others(difference) else f"95% interval {_difference_ends(difference)}"
