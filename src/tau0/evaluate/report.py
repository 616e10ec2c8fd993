"""One self-contained page about a run: what came out of it, what was imagined and chosen on the way, and what it cost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.report_card import card_figure
from tau0.evaluate.report_choice import Fitted, Met, fit_episodes, met_by
from tau0.evaluate.report_process import funnel_figure, timings_figure
from tau0.evaluate.report_results import MODES, headline_mode, loss_figure, ordered_modes, records_of, results_figure
from tau0.evaluate.report_words import plural
from tau0.evaluate.trace import EpisodeTrace
from tau0.worlds.registry import GROUPS

ROOM = Path(__file__).parent
MAX_MB = 12.0


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """What the page says besides the episodes.

    Attributes:
        title: The headline.
        lead: One sentence under it; empty for one made from the results.
        records: Of every episode of the run; empty for those of the episodes shown.
        counted: Traces whose decisions are counted and timed, pictures not needed; empty for those of the episodes shown.
        card: Of the simulator, as `tau0 card` writes it.
        notes: Name and value of what should be known about the run: checkpoint, machine, date, command.
        max_mb: The size of the episodes' pictures, films and numbers, at most. What is cut is told on the page.
    """

    title: str = "A robot that imagines before it acts"
    lead: str = ""
    records: tuple[EpisodeRecord, ...] = ()
    counted: tuple[EpisodeTrace, ...] = ()
    card: Mapping[str, Any] | None = None
    notes: tuple[tuple[str, str], ...] = ()
    max_mb: float = MAX_MB


def write_report(path: Path, traces: Iterable[EpisodeTrace], summary: ReportSummary, count: int | None = None) -> Path:
    """Writes one HTML file that needs nothing else: styles, script, pictures and films are inside. Returns `path`.

    Args:
        path: Its folder is made if missing.
        traces: The episodes that are shown, with video. An iterator that reads them one by one needs memory for one.
        summary: See there.
        count: How many traces there are, where that cannot be seen from `traces`.

    Raises:
        ValueError: There is no episode to show and no result either.
        RecordsError: The results are not of one evaluation.
        OSError: The place cannot be written.
    """
    if count is None:
        traces = tuple(traces)
        count = len(traces)
    if not count and not summary.records:
        raise ValueError("a report needs at least one episode trace or one result, got none")
    page = _render(traces, count, summary)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.unfinished"
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _render(traces: Iterable[EpisodeTrace], count: int, summary: ReportSummary) -> str:
    shown: list[EpisodeTrace] = []
    if not (summary.records and summary.counted):
        traces = shown = list(traces)
    records = summary.records or records_of(shown)
    met = [met_by(record) for record in records]
    mode = headline_mode([one.mode for one in met])
    counted = [trace for trace in summary.counted or shown if trace.mode == mode]
    fitted = fit_episodes(traces, count, round(1e6 * summary.max_mb), met)
    environment = Environment(
        loader=FileSystemLoader(ROOM), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    funnel = funnel_figure(counted)
    return environment.get_template("report.html.j2").render(
        title=summary.title,
        lead=summary.lead or _lead(met, thinks=bool(funnel["imagined"])),
        notes=summary.notes,
        mode=mode,
        num_decisions=sum(record.result.decisions for record in records if record.result.mode == mode),
        results=results_figure(records, GROUPS),
        loss=loss_figure(records),
        card=None if summary.card is None else card_figure(summary.card),
        timings=timings_figure(counted),
        funnel=funnel,
        fitted=fitted,
        of_episodes=_of_episodes(fitted, len(met)),
        episodes=Markup(f"[{','.join(fitted.episodes)}]"),
        style=Markup((ROOM / "report.css").read_text(encoding="utf-8") + (ROOM / "report_results.css").read_text(encoding="utf-8")),
        scripts=[Markup((ROOM / name).read_text(encoding="utf-8")) for name in ("report_draw.js", "report_cards.js", "report.js")],
    )


def _lead(met: Sequence[Met], *, thinks: bool) -> str:
    modes, tasks = ordered_modes([one.mode for one in met]), len({one.task for one in met})
    if len(modes) > 1:
        states = len({(one.task, one.seed) for one in met})
        ways = f"{plural(len(modes), 'way')} of deciding met the same {plural(states, 'initial state')} of {plural(tasks, 'task')}"
        return f"{ways[0].upper()}{ways[1:]}, {len(met)} episodes in all. What each solved, why, and what it cost."
    solved = sum(one.success for one in met)
    start = f"It attempted {plural(tasks, 'task')} and solved {solved} of {plural(len(met), 'episode')}."
    if not thinks:
        return f"{start} It acted as “{modes[0]}”: {MODES[modes[0]]}." if modes[0] in MODES else start
    return f"{start} Before it moved it drew up several plans and, when unsure, pictured where each would lead."


def _of_episodes(fitted: Fitted, num_episodes: int) -> list[str]:
    """What the page does not show, in sentences."""
    said = []
    if len(fitted.episodes) < num_episodes:
        verb = "is" if len(fitted.episodes) == 1 else "are"
        said.append(f"{len(fitted.episodes)} of the run's {num_episodes} episodes {verb} shown here; the tables count all of them.")
    if fitted.num_left_out:
        said.append(f"{plural(fitted.num_left_out, 'episode')} did not fit into the size allowed (--max-mb).")
    if fitted.num_plain:
        said.append(f"To keep the page small, {plural(fitted.num_plain, 'decision')} are shown without pictures (--max-mb).")
    return said
