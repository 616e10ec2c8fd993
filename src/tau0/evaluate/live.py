"""What a person sees while episodes run: one row each in a terminal, one line each in a log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tau0.contract import Decision


@dataclass(kw_only=True)
class _Row:
    """One episode, as far as it has come. The state of `DemoDisplay`."""

    task: str
    instruction: str
    max_steps: int
    step: int = 0
    decisions: int = 0
    passed: int = 0
    imagined: int = 0
    revised: int = 0
    success: bool | None = None


class DemoDisplay:
    """A live table of episodes. Where the output is no terminal, plain lines say the same when an episode starts and ends.

    Use it as a context manager; episodes run one after the other.

    Attributes:
        console: Where it writes.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._rows: list[_Row] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(_Table(self._rows), console=self.console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def episode_started(self, task: str, instruction: str, max_steps: int) -> None:
        """A new row: nothing has been done yet of at most `max_steps` control steps."""
        self._rows.append(_Row(task=task, instruction=instruction, max_steps=max_steps))
        if self._live is None:
            self._say(f'{len(self._rows)}. {task}: "{instruction}" ...')

    def decision(self, decision: Decision) -> None:
        """Counts one decision of the running episode.

        Raises:
            RuntimeError: No episode is running.
        """
        row = self._running()
        row.step = decision.step
        row.decisions += 1
        row.passed += decision.gate_passed is True
        row.imagined += decision.proposals.progress is not None
        row.revised += decision.choice == "revised"

    def episode_finished(self, success: bool, steps: int) -> None:
        """Closes the running episode after `steps` control steps.

        Raises:
            RuntimeError: No episode is running.
        """
        row = self._running()
        row.success, row.step = success, steps
        if self._live is None:
            thought = f"{row.decisions} decisions: {row.passed} passed the gate, {row.imagined} imagined, {row.revised} revised"
            self._say(f"   {'solved' if success else 'not solved'} in {steps} of {row.max_steps} steps, {thought}")

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _running(self) -> _Row:
        if not self._rows or self._rows[-1].success is not None:
            raise RuntimeError("no episode is running: call episode_started first")
        return self._rows[-1]


class _Table:
    """Rendered afresh at every refresh, so that the rows may change in between."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        is_wide = console.width >= 100
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", min_width=1)
        table.add_column("task", no_wrap=True, overflow="ellipsis")
        if is_wide:
            table.add_column("told to", style="dim", overflow="ellipsis", no_wrap=True, max_width=max(16, console.width - 84))
        table.add_column("steps", no_wrap=True)
        table.add_column("", justify="right", no_wrap=True, min_width=3)
        for name, style in (("decided", ""), ("passed", "green"), ("imagined", "blue"), ("revised", "magenta")):
            table.add_column(name, justify="right", style=style, no_wrap=True, min_width=len(name))
        for row in self._rows:
            told = [Text(row.instruction)] if is_wide else []
            bar = ProgressBar(
                total=row.max_steps, completed=row.step, width=12 if is_wide else 6, complete_style="cyan", finished_style="cyan"
            )
            counts = [Text(str(count)) for count in (row.decisions, row.passed, row.imagined, row.revised)]
            table.add_row(self._mark(row), Text(row.task, style="bold"), *told, bar, Text(str(row.step)), *counts)
        yield Group(table, self._footer())

    def _mark(self, row: _Row) -> RenderableType:
        if row.success is None:
            return self._spinner
        return Text("✓", style="bold green") if row.success else Text("✕", style="bold red")

    def _footer(self) -> Text:
        finished = [row for row in self._rows if row.success is not None]
        return Text(f"{sum(bool(row.success) for row in finished)} of {len(finished)} solved" if finished else "", style="dim")
