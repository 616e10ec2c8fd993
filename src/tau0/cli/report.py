"""`tau0 report`: the page about a run, made again from its results and its traces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import UsageError, at_least
from tau0.cli.folders import writable_folder
from tau0.cli.machine import command_line, machine, today, versions
from tau0.cli.shipped import expected_scores, find_checkpoint

if TYPE_CHECKING:
    from tau0.checkpoint import CheckpointConfig
    from tau0.cli.shipped import Scores

REPORT_NAME = "report.html"
MAX_MB = 12.0
"""As the report has it, so that help needs no numpy; a test keeps them equal."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make the HTML report of a run: one file that needs nothing else.

    Attributes:
        run_dir: What `tau0 demo` or `tau0 evaluate` left: a folder with episode-* traces, or results, NAME.jsonl (their traces are looked
            for in NAME-traces).
        card: What `tau0 card --out` wrote. Unless given, card.json in the folder, or in or beside the checkpoint.
        checkpoint: Whose card.json is taken: a folder of a checkpoint or of a training run, or the word shipped.
        episodes: Shown at most, of those with video: where the ways of deciding ended differently first.
        show: Names of traces to show instead, such as push-v3-0003-full.
        max_mb: Size of pictures, films and numbers of the episodes, at most. Pictures of the least telling decisions go first.
        out: Where the page goes; report.html in the folder of traces, or NAME.html beside results that have none.
    """

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    card: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    checkpoint: Annotated[str | None, tyro.conf.arg(metavar="CHECKPOINT")] = None
    episodes: int = 10
    show: tuple[str, ...] = ()
    max_mb: float = MAX_MB
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    stopped: ClassVar[str] = "Stopped."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Writes the page and prints its path."""
        at_least(1, episodes=self.episodes)
        at_least(0.1, max_mb=self.max_mb)
        if not self.run_dir.exists():
            raise UsageError(f"{self.run_dir} is not a folder or file; give what `tau0 demo` or `tau0 evaluate` wrote")
        card = self.card or (card_of(find_checkpoint(self.checkpoint)) if self.checkpoint is not None else None)
        if self.checkpoint is not None and card is None:
            raise UsageError(
                f"there is no card.json in or beside {self.checkpoint}: make one with `tau0 card {self.checkpoint} --data DATA --out PATH`"
            )
        page = write_run_report(self.run_dir, card, self.episodes, self.show, self.max_mb, self.out)
        console.print(str(page), markup=False, highlight=False, soft_wrap=True)
        return 0


def write_run_report(
    path: Path, card: Path | None = None, limit: int = 10, show: tuple[str, ...] = (), max_mb: float = MAX_MB, out: Path | None = None
) -> Path:
    """Writes the report of the run at `path`. Arguments as in `Report`. Returns the page's path.

    Raises:
        RecordsError, TraceError: Something of the run is missing or damaged.
        UsageError: The place cannot be written.
    """
    from tau0.evaluate.report import ReportSummary, write_report
    from tau0.evaluate.report_card import read_card
    from tau0.evaluate.report_run import find_run, read_notes, read_run
    from tau0.evaluate.trace import read_trace

    run = find_run(path)
    content = read_run(run, limit, show)
    page = out or (run.place / REPORT_NAME if run.place.is_dir() else run.place.with_suffix(".html"))
    writable_folder(page.parent, needed_mb=2 * max_mb)
    used = card or run.card
    summary = ReportSummary(
        records=content.records,
        counted=content.counted,
        card=None if used is None else read_card(used),
        notes=read_notes(run.notes),
        max_mb=max_mb,
    )
    return write_report(page, (read_trace(folder) for folder in content.shown), summary, count=len(content.shown))


def keep_for_report(checkpoint: Path, run_folder: Path) -> None:
    """Leaves with a run what its report says of the checkpoint, the machine and the command, and a copy of the checkpoint's card, if any.

    The copy takes the place of an earlier run's.
    """
    from tau0.checkpoint import fingerprint
    from tau0.evaluate.report_card import KEPT_CARD_NAME
    from tau0.evaluate.report_run import write_notes
    from tau0.plan.spec import read_config

    write_notes(run_folder, _notes(read_config(checkpoint), fingerprint(checkpoint)))
    kept = run_folder / KEPT_CARD_NAME
    kept.unlink(missing_ok=True)
    if (found := card_of(checkpoint)) is not None:
        kept.write_bytes(found.read_bytes())


def card_of(checkpoint: Path) -> Path | None:
    """The card of the checkpoint in a folder: in it, or beside it; None where there is none that is this checkpoint's."""
    from tau0.checkpoint import fingerprint
    from tau0.evaluate.records import RecordsError
    from tau0.evaluate.report_card import CARD_NAME, read_card

    for path in (checkpoint / CARD_NAME, checkpoint.absolute().parent / CARD_NAME):
        try:
            if path.is_file() and read_card(path).get("fingerprint") == fingerprint(checkpoint):
                return path
        except RecordsError:
            continue
    return None


def _notes(config: CheckpointConfig, fingerprint: str) -> list[tuple[str, str]]:
    notes = [("checkpoint", f"{config.name}, fingerprint {fingerprint}")]
    if config.gate is not None:
        notes.append(("gate", f"threshold {config.gate.threshold:.3f}; {config.gate.chosen_by}"))
    if scores := expected_scores(config):
        notes.append(("measured before", _in_words(scores)))
    return [*notes, ("command", command_line()), ("machine", machine()), ("versions", versions()), ("date", today())]


def _in_words(scores: Scores) -> str:
    """Success over all tasks, by mode."""
    totals = {mode: (sum(s for s, _ in tasks.values()), sum(n for _, n in tasks.values())) for mode, tasks in scores.items()}
    return "; ".join(f"{mode} {successes} of {trials}" for mode, (successes, trials) in totals.items())
