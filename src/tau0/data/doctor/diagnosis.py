"""What the doctor found: one object that a terminal, a page and a script can show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Pixels
from tau0.data.doctor.label_rules import Coverage
from tau0.data.doctor.number_rules import Dimension
from tau0.data.findings import Finding, Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class CameraReport:
    """One camera over all episodes.

    Attributes:
        name: Feature name.
        size: Declared height and width.
        codec: Of the videos, "images" where there is no video.
        num_files: Different files.
        num_frames: That were decoded.
        lag: Frames that pictures are behind the rows, None where it cannot be told.
        alignment: The same in words.
        curve: Correlation of motions by lag, () where there is none.
    """

    name: str
    size: tuple[int, int]
    codec: str
    num_files: int
    num_frames: int
    lag: int | None
    alignment: str
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ShownEpisode:
    """One episode to look at.

    Attributes:
        index: Its number.
        instruction: What was asked.
        length: Rows.
        seconds: How long it lasts.
        series: Feature to numbers, thinned, shape (points, size).
        pictures: Camera to a few reduced frames, uint8 (n, h, w, 3).
        picture_frames: Camera to the frames they are.
    """

    index: int
    instruction: str
    length: int
    seconds: float
    series: Mapping[str, NDArray[np.floating]]
    pictures: Mapping[str, Pixels]
    picture_frames: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class EpisodeLine:
    """One episode in a list.

    Attributes:
        index: Its number.
        length: Rows.
        seconds: How long it lasts.
        instruction: What was asked.
        success: Whether it was solved, None where unknown.
        worst: The severity of its worst finding, "" without any.
    """

    index: int
    length: int
    seconds: float
    instruction: str
    success: bool | None
    worst: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The state of a dataset.

    Attributes:
        root: Its folder.
        version: Of the format, "" where it could not be opened.
        robot: Its name.
        fps: Rows a second, 0 where it could not be opened.
        num_rows: Of all episodes.
        seconds: Of all episodes.
        num_watched: Episodes whose videos were decoded frame by frame.
        cameras: Each camera.
        dimensions: Each number of state and action.
        coverage: Which labels there are.
        shown: A few episodes to look at.
        episodes: All of them.
        findings: Errors first.
    """

    root: Path
    version: str = ""
    robot: str = ""
    fps: float = 0.0
    num_rows: int = 0
    seconds: float = 0.0
    num_watched: int = 0
    cameras: tuple[CameraReport, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    shown: tuple[ShownEpisode, ...] = ()
    episodes: tuple[EpisodeLine, ...] = ()
    findings: tuple[Finding, ...]

    @property
    def is_usable(self) -> bool:
        """Whether there is no error."""
        return not self.count("error")

    def count(self, severity: Severity) -> int:
        """Findings of one severity, the same in many episodes counted once."""
        return sum(group.finding.severity == severity for group in grouped(self.findings))

    def to_json(self) -> str:
        """Everything but pictures and curves, for scripts."""
        content: dict[str, Any] = {
            "root": str(self.root),
            "usable": self.is_usable,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "version": self.version,
            "robot": self.robot,
            "fps": self.fps,
            "episodes": len(self.episodes),
            "rows": self.num_rows,
            "seconds": round(self.seconds, 3),
            "watched": self.num_watched,
            "cameras": [asdict(camera) for camera in self.cameras],
            "dimensions": [asdict(dimension) for dimension in self.dimensions],
            "coverage": [asdict(coverage) for coverage in self.coverage],
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(content, indent=1, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Group:
    """One finding, and the episodes in which it is the same.

    Attributes:
        finding: The first of them.
        episodes: Their numbers; () where it is about none in particular.
    """

    finding: Finding
    episodes: tuple[int, ...]


def grouped(findings: Sequence[Finding]) -> tuple[Group, ...]:
    """Findings of one check with one advice together, the worst first."""
    together: dict[object, list[Finding]] = {}
    for number, finding in enumerate(findings):
        key = number if finding.episode is None else (finding.severity, finding.check, finding.advice)
        together.setdefault(key, []).append(finding)
    groups = [Group(finding=same[0], episodes=_numbers(same)) for same in together.values()]
    return tuple(sorted(groups, key=lambda group: SEVERITIES.index(group.finding.severity)))


def worst_of(findings: Sequence[Finding]) -> dict[int, Severity]:
    """The worst severity by episode."""
    worst: dict[int, Severity] = {}
    for finding in sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity)):
        if finding.episode is not None:
            worst[finding.episode] = finding.severity
    return worst


def _numbers(findings: Sequence[Finding]) -> tuple[int, ...]:
    return tuple(sorted({finding.episode for finding in findings if finding.episode is not None}))
