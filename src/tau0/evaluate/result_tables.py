"""What the tables of a document are made of: a settings file beside the episodes names them, this makes their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from tau0.evaluate.compare import side_by_side
from tau0.evaluate.document import Tables
from tau0.evaluate.gate_savings import gate_savings
from tau0.evaluate.loss_split import split_loss
from tau0.evaluate.one_evaluation import check_one_evaluation, check_one_wording
from tau0.evaluate.points import points_text
from tau0.evaluate.records import EpisodeRecord, RecordsError, read_records
from tau0.evaluate.settings_file import STRICT, known, read_settings
from tau0.evaluate.statistics import Interval, wilson_interval
from tau0.evaluate.table import Comparison, ModeSummary, Rate, summarize
from tau0.worlds.registry import SUITES

Row = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class SuccessTable:
    """Success by task, one column a mode, and the gain over the first mode.

    Attributes:
        files: Episodes, relative to the settings file. Together they are one evaluation.
        title: Head of the first column.
        modes: Which modes, the first is what the others are compared with; all unless given.
        names: What a mode is called, by mode.
        suites: Rows are these suites instead of tasks: the mean over each one's tasks, then the mean of those means.
        strong: Modes whose average is set in bold type.
    """

    __pydantic_config__ = STRICT
    kind: Literal["success"]
    files: tuple[str, ...]
    title: str = "task"
    modes: tuple[str, ...] = ()
    names: Mapping[str, str] | None = None
    suites: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of a `RunsTable`: the episodes of one mode in one file."""

    __pydantic_config__ = STRICT
    name: str
    file: str
    mode: str


@dataclass(frozen=True, kw_only=True)
class RunsTable:
    """One row a run, on the same episodes; the first is what the others are compared with."""

    __pydantic_config__ = STRICT
    kind: Literal["runs"]
    runs: tuple[Run, ...]
    title: str = "run"
    against: str = "against the first"


@dataclass(frozen=True, kw_only=True)
class GateTable:
    """What the gate saves: the same mode with its gate, and with a gate that never passes, on the episodes of the latter."""

    __pydantic_config__ = STRICT
    kind: Literal["gate"]
    gated: str
    always: str
    mode: str = "full"


@dataclass(frozen=True, kw_only=True)
class LossTable:
    """Where success is lost, from one evaluation with the modes that `tau0 evaluate --loss-split` adds."""

    __pydantic_config__ = STRICT
    kind: Literal["loss"]
    files: tuple[str, ...]


Table = Annotated[SuccessTable | RunsTable | GateTable | LossTable, pydantic.Field(discriminator="kind")]
_TABLES = pydantic.TypeAdapter(dict[str, Table])


def read_tables(path: Path) -> Tables:
    """Every table that the settings file names. Files of episodes are read when a table is made.

    Raises:
        RecordsError: The file is not there or not such a file; made later: its episodes are missing or do not match.
    """
    return {name: _made(table, path.parent) for name, table in read_settings(path, _TABLES).items()}


def table_files(path: Path) -> list[Path]:
    """All files of episodes that the settings file's tables are made of."""
    found: list[str] = []
    for table in read_settings(path, _TABLES).values():
        if isinstance(table, SuccessTable | LossTable):
            found += table.files
        elif isinstance(table, RunsTable):
            found += [run.file for run in table.runs]
        else:
            found += [table.gated, table.always]
    return [path.parent / name for name in dict.fromkeys(found)]


def _made(table: Table, folder: Path) -> Callable[[], str]:
    if isinstance(table, SuccessTable):
        return partial(success_text, table, folder)
    if isinstance(table, RunsTable):
        return partial(runs_text, table, folder)
    return partial(gate_text, table, folder) if isinstance(table, GateTable) else partial(loss_text, table, folder)


def success_text(table: SuccessTable, folder: Path) -> str:
    """Markdown of a `SuccessTable`."""
    records = _read(folder, table.files)
    check_one_evaluation(records)
    check_one_wording(records)
    there = list(dict.fromkeys(record.result.mode for record in records))
    modes = [known(mode, there, "mode") for mode in table.modes] or there
    summaries = summarize([record for mode in modes for record in records if record.result.mode == mode])
    names = table.names or {}
    rows = [[table.title, *(names.get(mode, mode) for mode in modes)]]
    if table.suites:
        rows += _suite_rows(summaries, table.suites)
    else:
        tasks = list(dict.fromkeys(task for summary in summaries for task in summary.by_task))
        rows += [[_short(task), *(_rate(s.by_task.get(task)) for s in summaries)] for task in tasks]
        rows.append(["average over tasks", *(_average(s, s.mode in table.strong) for s in summaries)])
    if len(summaries) > 1:
        rows.append([f"gain over {names.get(modes[0], modes[0])}", *(comparison_text(s.against_first) for s in summaries)])
    return markdown(rows)


def runs_text(table: RunsTable, folder: Path) -> str:
    """Markdown of a `RunsTable`."""
    runs = {run.name: _of_mode(_read(folder, [run.file]), run.mode, run.file) for run in table.runs}
    (by_run,) = side_by_side(runs).values()
    rows = [[table.title, "solved", table.against]]
    rows += [[s.mode, _rate(s.pooled), comparison_text(s.against_first)] for s in summarize(by_run)]
    return markdown(rows)


def gate_text(table: GateTable, folder: Path) -> str:
    """Markdown of a `GateTable`."""
    gated, always = (
        [record for record in _read(folder, [name]) if record.result.mode == table.mode] for name in (table.gated, table.always)
    )
    tried = {(record.result.task, record.result.seed) for record in always}
    found = gate_savings([record for record in gated if (record.result.task, record.result.seed) in tried], always)
    rows = [
        ["the gate", "as calibrated", "never passes"],
        ["simulations an episode", f"{found.simulated_gated:.1f}", f"{found.simulated_always:.1f}"],
        ["simulations saved", _percent(found.saved), ""],
        ["solved", *(_rate(rate) for rate in (found.solved_gated, found.solved_always))],
        ["gain over never passing", comparison_text(found.comparison), ""],
    ]
    return markdown(rows)


def loss_text(table: LossTable, folder: Path) -> str:
    """Markdown of a `LossTable`."""
    split = split_loss(_read(folder, table.files))
    rows = [[f"share of {split.episodes} episodes", ""]]
    rows += [[part.name, _percent(part.share) if part.is_rate else points_text(part.share)] for part in split.parts]
    return markdown(rows)


def markdown(rows: Sequence[Row]) -> str:
    """A table, its first row the head; all columns but the first to the right."""
    head, *others = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines = [head, "|---|" + "---:|" * (len(rows[0]) - 1), *others]
    return "\n".join(re_spaced(line) for line in lines) + "\n"


def re_spaced(line: str) -> str:
    """An empty cell is one space wide."""
    return line.replace("|  |", "| |")


def comparison_text(comparison: Comparison | None) -> str:
    """Such as "+4.0 points [-3.5, +13.5], 21 won, 13 lost, p = 0.23" or "+0.0 points, no episode differs"; empty for None."""
    if comparison is None:
        return ""
    if comparison.gained == comparison.lost == 0:
        return points_text(comparison.difference)
    won = f"{comparison.gained} won, {comparison.lost} lost, {p_text(comparison.p_value)}"
    return f"{points_text(comparison.difference)}, {won}"


def p_text(p_value: float) -> str:
    """Two digits from 0.01 on, three below."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.2f}" if p_value >= 0.01 else f"p = {p_value:.3f}"


def _suite_rows(summaries: Sequence[ModeSummary], suites: Sequence[str]) -> list[list[str]]:
    tasks = {suite: SUITES[known(suite, list(SUITES), "suite")] for suite in suites}
    means = {suite: [_suite_mean(summary, suite, tasks[suite]) for summary in summaries] for suite in suites}
    rows = [[suite, *(f"{mean:.1%}" for mean in means[suite])] for suite in suites]
    averages = [sum(column) / len(suites) for column in zip(*means.values(), strict=True)]
    return [*rows, ["mean of the groups", *(f"{average:.1%}" for average in averages)]] if len(suites) > 1 else rows


def _suite_mean(summary: ModeSummary, suite: str, tasks: Sequence[str]) -> float:
    if missing := [task for task in tasks if task not in summary.by_task]:
        raise RecordsError(f"mode {summary.mode} has no episodes of {missing[0]}, which suite {suite} needs")
    return sum(summary.by_task[task].interval.estimate for task in tasks) / len(tasks)


def _read(folder: Path, names: Sequence[str]) -> list[EpisodeRecord]:
    """Episodes of several files. Raises `RecordsError` where one is missing."""
    records = []
    for name in names:
        if not (folder / name).is_file():
            raise RecordsError(f"{folder / name} is not there; it should hold episodes that `tau0 evaluate` wrote")
        records += read_records(folder / name)
    return records


def _of_mode(records: Sequence[EpisodeRecord], mode: str, file: str) -> list[EpisodeRecord]:
    """Those of one mode, labelled alike in every run, so that different modes may be compared."""
    known(mode, list(dict.fromkeys(record.result.mode for record in records)), f"{file}: mode")
    return [replace(r, result=replace(r.result, mode="run")) for r in records if r.result.mode == mode]


def _short(task: str) -> str:
    return task.removesuffix("-v3")


def _rate(rate: Rate | None) -> str:
    return "–" if rate is None else f"{rate.successes}/{rate.trials}, {_percent(rate.interval)}"


def _average(summary: ModeSummary, is_strong: bool) -> str:
    pooled = wilson_interval(summary.pooled.successes, summary.pooled.trials)
    average = f"**{summary.average:.0%}**" if is_strong else f"{summary.average:.0%}"
    return f"{average} [{100 * pooled.low:.0f}, {100 * pooled.high:.0f}]"


def _percent(interval: Interval) -> str:
    return f"{interval.estimate:.0%} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
