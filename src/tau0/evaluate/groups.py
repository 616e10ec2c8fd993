"""Success by group of tasks, and the mean of the groups: how results on MT50 are published."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rich.table import Table

from tau0.evaluate.statistics import wilson_interval
from tau0.evaluate.table import ModeSummary, Rate


def whole_groups(tasks: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names of the groups of which every task is among `tasks`, in the order of `groups`."""
    return tuple(name for name, members in groups.items() if set(members) <= set(tasks))


def group_rate(summary: ModeSummary, members: Sequence[str]) -> Rate | None:
    """Of all episodes of a group's tasks together; None where the mode lacks one of the tasks."""
    rates = [summary.by_task.get(task) for task in members]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(members):
        return None
    successes, trials = sum(rate.successes for rate in known), sum(rate.trials for rate in known)
    return Rate(successes=successes, trials=trials, interval=wilson_interval(successes, trials))


def groups_mean(summary: ModeSummary, groups: Mapping[str, Sequence[str]]) -> float | None:
    """Mean of the groups' rates, each group counting the same however many tasks it has; None where a group is not whole."""
    rates = [group_rate(summary, members) for members in groups.values()]
    known = [rate.interval.estimate for rate in rates if rate is not None]
    return statistics.fmean(known) if known and len(known) == len(rates) else None


def group_table(summaries: Sequence[ModeSummary], groups: Mapping[str, Sequence[str]], title: str | None = None) -> Table | None:
    """The table for a terminal; None where fewer than two groups are whole, which is nothing that the table by task does not say.

    Args:
        summaries: One a mode.
        groups: Name to tasks.
        title: Of the table.
    """
    tasks = [task for summary in summaries for task in summary.by_task]
    shown = whole_groups(tasks, groups)
    if len(shown) < 2:
        return None
    table = Table(title=title, caption=_CAPTION)
    for index, name in enumerate(["group", "tasks", *(summary.mode for summary in summaries)]):
        table.add_column(name, justify="left" if index == 0 else "right")
    for name in shown:
        rates = [group_rate(summary, groups[name]) for summary in summaries]
        table.add_row(name, str(len(groups[name])), *map(_rate_text, rates), end_section=name == shown[-1])
    if shown == tuple(groups):
        means = [groups_mean(summary, groups) for summary in summaries]
        table.add_row("mean of the groups", "", *("–" if mean is None else f"{mean:.1%}" for mean in means))
    return table


_CAPTION = "Intervals are Wilson's, 95%. In the mean every group counts the same; 'all episodes' above is the mean over episodes."


def _rate_text(rate: Rate | None) -> str:
    if rate is None:
        return "–"
    return f"{rate.successes}/{rate.trials}  {rate.interval.estimate:.1%} [{rate.interval.low:.0%}, {rate.interval.high:.0%}]"
