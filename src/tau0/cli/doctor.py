"""`tau0 doctor`: what is wrong with a dataset, and what is only unusual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tau0.cli.arguments import UsageError, at_least
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_file

if TYPE_CHECKING:
    from tau0.data.doctor.diagnosis import Diagnosis
    from tau0.data.doctor.number_rules import Dimension

SICK = 1
_STYLES = {"error": ("✕", "bold red"), "warning": ("!", "yellow"), "note": ("i", "dim")}
_MAX_EPISODES_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Examine a LeRobot dataset (v3.0, v2.1, v2.0): its files, rows, videos, units, time and labels. Nothing in it is changed.

    The exit status is 0 for a dataset that can be trained on, with warnings or without, and 1 for one with errors.

    Attributes:
        dataset: Folder of the dataset.
        out: Where the report goes as one HTML file; nowhere unless given.
        json: Where the findings go as JSON; nowhere unless given.
        description: What the dataset's numbers mean, by the name of a preset or a JSON file; units are guessed from names unless given.
        videos: Episodes whose videos are decoded frame by frame, evenly spread; all unless given. Of the others only the headers are read.
    """

    dataset: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="report.html")] = None
    json: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    description: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    videos: Annotated[int | None, tyro.conf.arg(metavar="N")] = None

    stopped: ClassVar[str] = "Stopped. Nothing was written."

    def run(self, console: Console, stderr: Console) -> int:
        """Examines, prints what was found, writes the files asked for."""
        at_least(0, videos=self.videos)
        if not self.dataset.is_dir():
            raise UsageError(f"{self.dataset} is not a folder; give one with meta/, data/ and videos/")
        for path in (self.out, self.json):
            if path is not None:
                _outside(writable_file(path), self.dataset)

        from tau0.data.descriptions import find_description
        from tau0.data.doctor.examine import ExamineSpec, examine

        description = None if self.description is None else find_description(self.description)
        write = None if self.out is None else _page_writer(self.out)
        with Bars(stderr) as bars:
            spec = ExamineSpec(max_videos=self.videos, num_shown=4 if self.out is not None else 0)
            diagnosis = examine(self.dataset, spec, lambda fraction, what: bars.show("examining", fraction, what), description)
        console.print(diagnosis_view(diagnosis))
        if write is not None:
            console.print(str(write(diagnosis)), markup=False, highlight=False, soft_wrap=True)
        if self.json is not None:
            self.json.write_text(diagnosis.to_json() + "\n", encoding="utf-8")
        return 0 if diagnosis.is_usable else SICK


def _page_writer(path: Path) -> Callable[[Diagnosis], Path]:
    """What writes the page. Found before the examination: what it needs may not be installed."""
    from tau0.evaluate.doctor_page import write_doctor_page

    return lambda diagnosis: write_doctor_page(path, diagnosis)


def diagnosis_view(diagnosis: Diagnosis) -> Group:
    """The report for a terminal: what there is, what it supervises, its ranges, and last, where the eye rests, the findings."""
    parts: list[Text | Table | Group] = [_heading(diagnosis)]
    if diagnosis.episodes:
        parts += [_cameras(diagnosis), _coverage(diagnosis)]
    if diagnosis.dimensions:
        parts.append(_ranges(diagnosis))
    return Group(*(Padding(part, (1, 0, 0, 0)) for part in (*parts, _findings(diagnosis))))


def _heading(diagnosis: Diagnosis) -> Text:
    text = Text(str(diagnosis.root), style="bold")
    if diagnosis.episodes:
        robot = f", {diagnosis.robot}" if diagnosis.robot else ""
        size = f"{_count(len(diagnosis.episodes), 'episode')}, {_count(diagnosis.num_rows, 'row')} at {diagnosis.fps:g} a second"
        watched = f"{_count(diagnosis.num_watched, 'episode')} watched frame by frame"
        text.append(f"\nLeRobot {diagnosis.version}{robot}: {size}, {diagnosis.seconds / 60:.1f} minutes; {watched}", style="not bold")
    return text


def _cameras(diagnosis: Diagnosis) -> Table:
    table = _table("camera", "size", "codec", "files", "frames", "alignment with the rows")
    for camera in diagnosis.cameras:
        size = f"{camera.size[1]} x {camera.size[0]}"
        table.add_row(
            camera.name.removeprefix("observation.images."),
            size,
            camera.codec,
            str(camera.num_files),
            f"{camera.num_frames:,}",
            camera.alignment,
        )
    return table


def _coverage(diagnosis: Diagnosis) -> Table:
    table, total = _table("label", "episodes", ""), len(diagnosis.episodes)
    for item in diagnosis.coverage:
        style = "green" if item.episodes == total else "yellow" if item.episodes else "dim"
        table.add_row(item.label, Text(f"{item.episodes} of {total}", style=style), item.detail)
    return table


def _ranges(diagnosis: Diagnosis) -> Table:
    """Ranges of the numbers that change, state and action of one name in one row."""
    table = _table("number", "state: 1% .. 99%", "largest", "action: 1% .. 99%", "largest")
    by_name: dict[str, dict[str, Dimension]] = {}
    for dim in diagnosis.dimensions:
        if not dim.is_constant:
            by_name.setdefault(dim.name, {})[dim.feature] = dim
    for name, of in by_name.items():
        cells = [cell for feature in ("observation.state", "action") for cell in _span(of.get(feature))]
        table.add_row(name, *cells)
    return table


def _span(dim: Dimension | None) -> tuple[str, str]:
    if dim is None:
        return "", ""
    return f"{dim.quantiles[0]:.3g} .. {dim.quantiles[6]:.3g}", f"{max(abs(dim.low), abs(dim.high)):.3g}"


def _findings(diagnosis: Diagnosis) -> Group:
    from tau0.data.doctor.diagnosis import SEVERITIES, grouped

    lines: list[Text | Padding] = []
    for group in grouped(diagnosis.findings):
        sign, style = _STYLES[group.finding.severity]
        lines.append(Text.assemble((f"{sign} {group.finding.severity}", style), f"  {group.finding.check}: {group.finding.what}"))
        where = group.finding.where
        if len(group.episodes) > 1:
            named = ", ".join(map(str, group.episodes[:_MAX_EPISODES_NAMED]))
            more = ", .." if len(group.episodes) > _MAX_EPISODES_NAMED else ""
            where += f"; the same in {len(group.episodes)} episodes: {named}{more}"
        lines.append(Padding(Text(f"{where}\n→ {group.finding.advice}", style="dim"), (0, 0, 0, 4)))
    numbers = {severity: diagnosis.count(severity) for severity in SEVERITIES}
    counts = ", ".join(_count(number, severity) for severity, number in numbers.items())
    style = "bold green" if diagnosis.is_usable else "bold red"
    lines.append(Padding(Text(f"{'Usable' if diagnosis.is_usable else 'Not usable as it is'}: {counts}.", style=style), (1, 0, 0, 0)))
    return Group(*lines)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column)
    return table


def _outside(path: Path, dataset: Path) -> None:
    """Raises `UsageError` when `path` lies within the dataset, which is left as it is."""
    if path.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(f"{path} lies within the dataset, in which nothing is changed: name a file elsewhere")
