"""Progress of long work: one bar per stage with the time left in a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

LINE_EVERY_S = 30.0


class Bars:
    """Bars that appear when their stage begins. Use it as a context manager.

    Attributes:
        console: Where it writes.
    """

    def __init__(self, console: Console, line_every_s: float = LINE_EVERY_S) -> None:
        self.console = console
        self._line_every_s = line_every_s
        self._progress = Progress(
            TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            disable=not console.is_terminal,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, tuple[float, float]] = {}
        self._last_line: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def start(self, stage: str, text: str) -> None:
        """Says that a stage has begun, before it is known how far an earlier run came."""
        self._tasks[stage] = self._progress.add_task(stage, total=None, text=text)
        if not self.console.is_terminal:
            self._line(stage, text)

    def show(self, stage: str, fraction: float, text: str) -> None:
        """How far a stage is, in [0, 1]. What it began with does not count as speed."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=None, text=text)
        now = time.monotonic()
        if stage not in self._first:
            self._first[stage] = (now, fraction)
            self._progress.reset(self._tasks[stage], total=1.0, completed=fraction, text=text)  # pyright: ignore[reportArgumentType]
        self._progress.update(self._tasks[stage], completed=fraction, text=text)
        due = now - self._last_line.get(stage, -self._line_every_s) >= self._line_every_s
        if not self.console.is_terminal and (due or fraction >= 1):
            self._last_line[stage] = now
            self._line(stage, f"{fraction:4.0%}{self._time_left(stage, fraction, now)}  {text}")

    def say(self, line: str) -> None:
        """One line of plain text, above the bars."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _line(self, stage: str, text: str) -> None:
        self.say(f"{stage:<12} {text}")

    def _time_left(self, stage: str, fraction: float, now: float) -> str:
        began, first = self._first[stage]
        if fraction <= first or fraction >= 1:
            return ""
        left_s = (1 - fraction) * (now - began) / (fraction - first)
        return f", {left_s / 60:.0f} min left" if left_s >= 90 else f", {left_s:.0f} s left"
