"""`tau0 report`: the page about a run, made again from its traces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import UsageError
from tau0.cli.folders import writable_folder

NOTES_NAME = "notes.json"
REPORT_NAME = "report.html"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make the HTML report of a run again, from the traces in its folder.

    Attributes:
        run_dir: A folder with episode-* traces, such as `tau0 demo` leaves.
    """

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]

    stopped: ClassVar[str] = "Stopped."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Writes RUN_DIR/report.html and prints its path."""
        if not self.run_dir.is_dir():
            raise UsageError(f"{self.run_dir} is not a folder; give one that `tau0 demo` wrote")
        console.print(str(write_run_report(self.run_dir)), markup=False, highlight=False, soft_wrap=True)
        return 0


def write_notes(folder: Path, notes: list[tuple[str, str]]) -> None:
    """Keeps what the report says about the run beside its traces."""
    (folder / NOTES_NAME).write_text(json.dumps(notes, indent=1, ensure_ascii=False), encoding="utf-8")


def write_run_report(folder: Path) -> Path:
    """Writes the report of the traces in `folder`. Returns its path.

    Raises:
        TraceError: There is no trace, or one is damaged.
        UsageError: The folder cannot be written, or its notes are damaged.
    """
    from tau0.evaluate.report import ReportSummary, write_report
    from tau0.evaluate.trace import read_traces

    traces = read_traces(folder)
    if without := [trace for trace in traces if not len(trace.frames)]:
        example = f"{without[0].task}, seed {without[0].seed}, mode {without[0].mode}"
        raise UsageError(f"{folder} holds decisions without video ({example}): record them with `tau0 evaluate --video` or `tau0 demo`")
    writable_folder(folder, needed_mb=20)
    return write_report(folder / REPORT_NAME, traces, ReportSummary(notes=_read_notes(folder / NOTES_NAME)))


def _read_notes(path: Path) -> tuple[tuple[str, str], ...]:
    if not path.is_file():
        return ()
    try:
        return tuple((str(name), str(value)) for name, value in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} does not hold pairs of name and value ({error}); remove it to do without") from error
