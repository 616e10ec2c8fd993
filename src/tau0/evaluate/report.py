"""One self-contained page about a run: what happened, what was imagined, what was chosen, and what it cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tau0.evaluate.report_figures import episode_figure
from tau0.evaluate.report_words import kind_of, plural
from tau0.evaluate.statistics import wilson_interval
from tau0.evaluate.trace import EpisodeTrace

ROOM = Path(__file__).parent
MODES = {
    "single": "first plan drawn",
    "random": "any plan",
    "medoid": "plan in the middle",
    "rcs": "most believed plan",
    "progress": "most promising plan",
    "unrevised": "imagine where unsure",
    "full": "imagine and revise",
    "oracle": "best plan, tried in the real world",
    "oracle-gated": "the same where unsure",
}
STAGES = {
    "encode": "turn camera pictures into the model's own language",
    "propose": "draw the candidate plans",
    "score": "ask which plans it believes in",
    "simulate": "imagine where each plan leads",
    "revise": "plan again from the best future, and check it",
}


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How often a task was solved in one mode."""

    task: str
    mode: str
    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials or self.trials == 0:
            raise ValueError(
                f"{self.task} in mode {self.mode}: {self.successes} successes of {self.trials} trials, expected at least one trial"
            )


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """What the page says besides the episodes.

    Attributes:
        title: The headline.
        lead: One sentence under it; empty for one made from the episodes.
        results: Success by task and mode; empty for a count of the episodes shown.
        notes: Name and value of what should be known about the run: checkpoint, machine, date, command.
    """

    title: str = "A robot that imagines before it acts"
    lead: str = ""
    results: tuple[TaskResult, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def write_report(path: Path, traces: Sequence[EpisodeTrace], summary: ReportSummary) -> Path:
    """Writes one HTML file that needs nothing else: styles, script, pictures and films are inside. Returns `path`.

    Raises:
        ValueError: There is no episode to show.
        OSError: The place cannot be written.
    """
    if not traces:
        raise ValueError("a report needs at least one episode trace, got none")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.unfinished"
    try:
        unfinished.write_text(_render(traces, summary), encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _render(traces: Sequence[EpisodeTrace], summary: ReportSummary) -> str:
    environment = Environment(
        loader=FileSystemLoader(ROOM), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    results = summary.results or _counted(traces)
    return environment.get_template("report.html.j2").render(
        title=summary.title,
        lead=summary.lead or _lead(traces),
        notes=summary.notes,
        table=_table(results),
        overall=_overall(results),
        timings=_timings(traces),
        funnel=_funnel(traces),
        episodes=[episode_figure(trace) for trace in traces],
        style=Markup((ROOM / "report.css").read_text(encoding="utf-8")),
        scripts=[Markup((ROOM / name).read_text(encoding="utf-8")) for name in ("report_draw.js", "report.js")],
    )


def _lead(traces: Sequence[EpisodeTrace]) -> str:
    solved, tasks = sum(trace.success for trace in traces), len({trace.task for trace in traces})
    start = f"In the episodes shown here it attempted {plural(tasks, 'task')} and solved {solved} of {len(traces)}."
    thinking = any(decision.proposals.progress is not None for trace in traces for decision in trace.decisions)
    if not thinking:
        return f"{start} Every decision on the way is below."
    return f"{start} Before it moved it drew up several plans and, when unsure, pictured where each would lead."


def _counted(traces: Sequence[EpisodeTrace]) -> tuple[TaskResult, ...]:
    kinds = dict.fromkeys((trace.task, trace.mode) for trace in traces)
    groups = [(task, mode, [t.success for t in traces if (t.task, t.mode) == (task, mode)]) for task, mode in kinds]
    return tuple(TaskResult(task=task, mode=mode, successes=sum(solved), trials=len(solved)) for task, mode, solved in groups)


def _share(successes: int, trials: int) -> dict[str, Any]:
    rate = wilson_interval(successes, trials)
    return {"successes": successes, "trials": trials, "percent": 100 * rate.estimate, "low": 100 * rate.low, "high": 100 * rate.high}


def _modes(results: Sequence[TaskResult]) -> list[str]:
    present = {result.mode for result in results}
    return [mode for mode in MODES if mode in present] + sorted(present - MODES.keys())


def _table(results: Sequence[TaskResult]) -> dict[str, Any]:
    cells = {(result.task, result.mode): _share(result.successes, result.trials) for result in results}
    modes, tasks = _modes(results), list(dict.fromkeys(result.task for result in results))
    return {
        "modes": {mode: MODES.get(mode, "") for mode in modes},
        "rows": [{"task": task, "cells": [cells.get((task, mode)) for mode in modes]} for task in tasks],
    }


def _overall(results: Sequence[TaskResult]) -> list[dict[str, Any]]:
    chosen = {mode: [result for result in results if result.mode == mode] for mode in _modes(results)}
    return [{"mode": mode, **_share(sum(r.successes for r in rs), sum(r.trials for r in rs))} for mode, rs in chosen.items()]


def _timings(traces: Sequence[EpisodeTrace]) -> dict[str, Any]:
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


def _funnel(traces: Sequence[EpisodeTrace]) -> dict[str, Any]:
    decisions = [decision for trace in traces for decision in trace.decisions]
    kinds = [kind_of(decision) for decision in decisions]
    rounds = [one for decision in decisions for one in (decision.proposals, decision.revision) if one is not None]
    return {
        "decisions": len(decisions),
        "candidates": max((len(decision.proposals.actions) for decision in decisions), default=0),
        "horizon": max((decision.proposals.actions.shape[1] for decision in decisions), default=0),
        "scored": any(decision.proposals.scores is not None for decision in decisions),
        "gated": any(decision.gate_threshold is not None for decision in decisions),
        "passed": kinds.count("gate"),
        "imagined": sum(decision.proposals.progress is not None for decision in decisions),
        "futures": sum(len(one.actions) for one in rounds if one.progress is not None),
        "tried": sum(decision.revision is not None for decision in decisions),
        "revised": kinds.count("revised"),
    }
