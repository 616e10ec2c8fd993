"""The table of an evaluation: success by task and mode with intervals, and paired comparisons with the first mode."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from tau0.evaluate.points import points_text
from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.statistics import Interval, mcnemar_exact, paired_difference, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Successes of one mode on one task, or on all."""

    successes: int
    trials: int
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One mode against the first, on the episodes that both have run.

    Attributes:
        pairs: Episodes with the same task, seed and requested instruction.
        gained: Pairs that only this mode solved.
        lost: Pairs that only the first mode solved.
        difference: Of the success rates, with a bootstrap interval clustered by task.
        p_value: Of McNemar's exact two-sided test.
    """

    pairs: int
    gained: int
    lost: int
    difference: Interval
    p_value: float


@dataclass(frozen=True, kw_only=True)
class ModeSummary:
    """One mode over the whole suite.

    Attributes:
        mode: Its name.
        by_task: Its rate on each task that it ran.
        pooled: Its rate over all episodes.
        average: Mean of the tasks' rates, each task counting the same.
        against_first: None for the first mode, and where no episode is shared.
        decision_ms: Median over episodes of their median wall time of a decision.
    """

    mode: str
    by_task: dict[str, Rate]
    pooled: Rate
    average: float
    against_first: Comparison | None
    decision_ms: float


def summarize(records: Sequence[EpisodeRecord], seed: int = 0) -> list[ModeSummary]:
    """One summary per mode, in the order in which the modes appear.

    Args:
        records: At least one; an episode that appears twice counts once.
        seed: Of the bootstrap.

    Raises:
        ValueError: When there are no records.
    """
    if not records:
        raise ValueError("there are no episodes to summarize")
    modes = list(dict.fromkeys(record.result.mode for record in records))
    tasks = list(dict.fromkeys(record.result.task for record in records))
    unique = list({record.key: record for record in records}.values())
    by_mode = {mode: [record for record in unique if record.result.mode == mode] for mode in modes}
    summaries = []
    for mode in modes:
        own = by_mode[mode]
        by_task = {task: _rate(chosen) for task in tasks if (chosen := [r for r in own if r.result.task == task])}
        summaries.append(
            ModeSummary(
                mode=mode,
                by_task=by_task,
                pooled=_rate(own),
                average=statistics.fmean(rate.interval.estimate for rate in by_task.values()),
                against_first=None if mode == modes[0] else _compare(by_mode[modes[0]], own, seed),
                decision_ms=statistics.median(record.result.decision_ms for record in own),
            )
        )
    return summaries


def success_table(summaries: Sequence[ModeSummary], title: str | None = None) -> Table:
    """The table for a terminal."""
    header, *rows = _cells(summaries)
    table = Table(title=title, caption=_CAPTION)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right")
    num_tasks = len(_tasks(summaries))
    for index, row in enumerate(rows):
        table.add_row(*row, end_section=index == num_tasks - 1)
    return table


def success_markdown(summaries: Sequence[ModeSummary]) -> str:
    """The same table for a README."""
    header, *rows = [[cell.replace("|", "\\|") for cell in row] for row in _cells(summaries)]
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
    return "\n".join([*lines, "", _CAPTION, ""])


_CAPTION = (
    "Intervals are 95%: Wilson's for rates, a bootstrap clustered by task for differences. "
    "p is McNemar's exact test, two-sided, on episodes with the same seeds."
)


def _rate(records: Sequence[EpisodeRecord]) -> Rate:
    successes = sum(record.result.success for record in records)
    return Rate(successes=successes, trials=len(records), interval=wilson_interval(successes, len(records)))


def _compare(first: Sequence[EpisodeRecord], other: Sequence[EpisodeRecord], seed: int) -> Comparison | None:
    """`other` against `first`; None where they share no episode."""
    outcomes = {_pair(record): record.result.success for record in first}
    pairs = [(record.result.task, outcomes[_pair(record)], record.result.success) for record in other if _pair(record) in outcomes]
    if not pairs:
        return None
    tasks, before, after = zip(*pairs, strict=True)
    gained = sum(b and not a for a, b in zip(before, after, strict=True))
    lost = sum(a and not b for a, b in zip(before, after, strict=True))
    return Comparison(
        pairs=len(pairs),
        gained=gained,
        lost=lost,
        difference=paired_difference(before, after, tasks, np.random.default_rng(seed)),
        p_value=mcnemar_exact(lost, gained),
    )


def _pair(record: EpisodeRecord) -> tuple[str, int, str | None]:
    return record.result.task, record.result.seed, record.requested_instruction


def _tasks(summaries: Sequence[ModeSummary]) -> list[str]:
    return list(dict.fromkeys(task for summary in summaries for task in summary.by_task))


def _cells(summaries: Sequence[ModeSummary]) -> list[list[str]]:
    """Header and rows, as text: tasks, then the whole suite, then the comparison with the first mode."""
    if not summaries:
        raise ValueError("there are no episodes to show")
    rows = [["task", *(summary.mode for summary in summaries)]]
    rows += [[task, *(_rate_text(summary.by_task.get(task)) for summary in summaries)] for task in _tasks(summaries)]
    rows.append(["all episodes", *(_rate_text(summary.pooled) for summary in summaries)])
    rows.append(["average over tasks", *(f"{summary.average:.0%}" for summary in summaries)])
    if any(summary.against_first for summary in summaries):
        name = f"gain over {summaries[0].mode}"
        rows.append([name, *(_comparison_text(summary.against_first) for summary in summaries)])
        rows.append(["pairs won : lost, p", *(_test_text(summary.against_first) for summary in summaries)])
    rows.append(["ms a decision", *(f"{summary.decision_ms:.0f}" for summary in summaries)])
    return rows


def _rate_text(rate: Rate | None) -> str:
    if rate is None:
        return "–"
    return f"{rate.successes}/{rate.trials}  {rate.interval.estimate:.0%} [{rate.interval.low:.0%}, {rate.interval.high:.0%}]"


def _comparison_text(comparison: Comparison | None) -> str:
    return "–" if comparison is None else points_text(comparison.difference)


def _test_text(comparison: Comparison | None) -> str:
    if comparison is None:
        return "–"
    p_value = comparison.p_value
    return f"{comparison.gained} : {comparison.lost}, p " + (f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001")
