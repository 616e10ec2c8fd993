"""What belongs to a run: its results, its traces, the card of its simulator, and what was noted about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tau0.evaluate.records import EpisodeRecord, RecordsError, read_records
from tau0.evaluate.report_card import CARD_NAME, KEPT_CARD_NAME, CardError, read_card
from tau0.evaluate.report_choice import Met, episodes_worth_seeing, met_by
from tau0.evaluate.report_results import headline_mode, records_of
from tau0.evaluate.trace import EpisodeTrace, has_video, read_trace_blindly, trace_folders

RESULTS_NAME = "evaluation.jsonl"
NOTES_NAME = "notes.json"
TRACES = "-traces"


class RunError(RecordsError):
    """Something is not the run that was meant. The message names it and says what would do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where a run lies.

    Attributes:
        place: What the report is named after: a folder, or a file of results without traces.
        results: The file of `tau0 evaluate`; None for a demo.
        traces: The folders of its episodes' traces, by name.
        card: Of its simulator; None where nobody measured it.
        notes: None where nobody wrote some.
    """

    place: Path
    results: Path | None
    traces: tuple[Path, ...]
    card: Path | None
    notes: Path | None


def find_run(path: Path) -> Run:
    """The run that `path` names: a folder of traces, a file of results, or a folder with `evaluation.jsonl`.

    Results and traces find each other by name, `NAME.jsonl` and `NAME-traces`. A card is one called card.json among the traces or beside
    the results, or the one that the run kept of its checkpoint; not one of a checkpoint that the run's notes do not name.

    Raises:
        RunError: There is nothing of a run.
    """
    if path.is_dir() and not any(path.glob("episode-*")) and (path / RESULTS_NAME).is_file():
        path = path / RESULTS_NAME
    if path.is_dir():
        folder, results = path, path.with_name(path.name.removesuffix(TRACES) + ".jsonl")
        results = results if path.name.endswith(TRACES) and results.is_file() else None
    elif path.is_file():
        folder, results = path.with_name(path.stem + TRACES), path
    else:
        raise RunError(f"{path} does not exist; give a folder that `tau0 demo` wrote, or results of `tau0 evaluate`")
    traces = trace_folders(folder) if results is None or any(folder.glob("episode-*")) else ()
    notes = folder / NOTES_NAME if (folder / NOTES_NAME).is_file() else None
    places = [folder] if results is None else [folder, results.parent]
    return Run(
        place=folder if traces else path,
        results=results,
        traces=traces,
        card=_card(places, notes),
        notes=notes,
    )


def _card(places: Sequence[Path], notes: Path | None) -> Path | None:
    said = "" if notes is None else notes.read_text(encoding="utf-8", errors="replace")
    for path in [place / name for place in places for name in (CARD_NAME, KEPT_CARD_NAME)]:
        try:
            if path.is_file() and (notes is None or str(read_card(path).get("fingerprint")) in said):
                return path
        except CardError:
            continue
    return None


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a report is made from.

    Attributes:
        records: Of every episode.
        counted: Traces of the mode that the page is about, without pictures.
        shown: Folders of the traces that are shown, with video.
    """

    records: tuple[EpisodeRecord, ...]
    counted: tuple[EpisodeTrace, ...]
    shown: tuple[Path, ...]


def read_run(run: Run, limit: int, wanted: Sequence[str] = ()) -> Content:
    """Everything about a run but its pictures.

    Args:
        run: As `find_run` gives it.
        limit: Episodes shown at most; of those with video the most interesting ones, see `episodes_worth_seeing`.
        wanted: Names of traces to show instead, such as push-v3-0003-full.

    Raises:
        RecordsError, TraceError: A file is damaged.
        RunError: A wanted trace is not there, or has no video; or there is neither a result nor any video.
    """
    traces = {folder: read_trace_blindly(folder) for folder in run.traces}
    records = tuple(read_records(run.results)) if run.results is not None else ()
    records = records or records_of(tuple(traces.values()))
    mode = headline_mode([record.result.mode for record in records]) if records else ""
    filmed = [folder for folder in traces if has_video(folder)]
    if wanted:
        shown = [_named(name, traces, filmed) for name in wanted]
    else:
        known = [_met(traces[folder]) for folder in filmed]
        shown = [filmed[i] for i in episodes_worth_seeing(known, limit, [met_by(record) for record in records])]
    if run.results is None and not shown:
        raise RunError(f"{run.place} holds decisions without video: record them with `tau0 evaluate --video` or `tau0 demo`")
    return Content(records=records, counted=tuple(trace for trace in traces.values() if trace.mode == mode), shown=tuple(shown))


def read_notes(path: Path | None) -> tuple[tuple[str, str], ...]:
    """Pairs of name and value; none where there is no file. Raises `RunError` when it holds something else."""
    if path is None:
        return ()
    try:
        return tuple((str(name), str(value)) for name, value in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} does not hold pairs of name and value ({error}); remove it to do without") from error


def write_notes(folder: Path, notes: Sequence[tuple[str, str]]) -> None:
    """Keeps what the report says about the run beside its traces."""
    (folder / NOTES_NAME).write_text(json.dumps(list(notes), indent=1, ensure_ascii=False), encoding="utf-8")


def _met(trace: EpisodeTrace) -> Met:
    return Met(task=trace.task, seed=trace.seed, mode=trace.mode, success=trace.success)


def _named(name: str, traces: dict[Path, EpisodeTrace], filmed: Sequence[Path]) -> Path:
    """The folder called `name`, with or without the part that all have in common."""
    names = {folder.name.removeprefix("episode-"): folder for folder in traces}
    folder = names.get(name.removeprefix("episode-"))
    if folder is None:
        raise RunError(f"there is no trace {name!r} in this run, there are {', '.join(list(names)[:4])}{' ...' if len(names) > 4 else ''}")
    if folder not in filmed:
        raise RunError(f"{folder} holds decisions without video: record it with `tau0 evaluate --video` or `tau0 demo`")
    return folder
