"""The examination: opens a dataset, looks through it once, and once more at its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tau0.data.description import SourceDescription
from tau0.data.doctor.description_rules import check_described, check_episode_described
from tau0.data.doctor.diagnosis import CameraReport, Diagnosis, EpisodeLine, ShownEpisode, worst_of
from tau0.data.doctor.label_rules import Labels
from tau0.data.doctor.number_rules import OutlierCounter, check_episode_units, check_numbers, dimensions, thinned
from tau0.data.doctor.row_rules import check_episode_rows
from tau0.data.doctor.survey import ROW_COST, EpisodeView, RowSample, look_through
from tau0.data.doctor.video_rules import Alignment, check_episode_videos, check_headers
from tau0.data.doctor.watch import read_header
from tau0.data.episodes import Dataset
from tau0.data.findings import Finding
from tau0.data.info import DatasetError
from tau0.data.schema import ACTION, STATE

NUM_WALKS = 2
"""Walks over the rows: the second knows what is usual."""


@dataclass(frozen=True, kw_only=True)
class ExamineSpec:
    """How closely to look.

    Attributes:
        max_videos: Episodes whose videos are decoded frame by frame, evenly spread; of the others only the headers are read. None for all.
        num_shown: Episodes to keep pictures and curves of.
        num_pictures: Of each camera in these.
        num_points: Of each curve in these.
    """

    max_videos: int | None = None
    num_shown: int = 4
    num_pictures: int = 6
    num_points: int = 240


def examine(
    root: str | Path,
    spec: ExamineSpec | None = None,
    on_progress: Callable[[float, str], None] = lambda _fraction, _what: None,
    description: SourceDescription | None = None,
) -> Diagnosis:
    """The diagnosis of the dataset in `root`. Nothing is written, and no fault of the dataset raises.

    Args:
        root: Its folder.
        spec: How closely to look.
        on_progress: Told the share of frames looked at, in [0, 1], and what is looked at.
        description: What its numbers mean. Units are then judged by it; otherwise they are guessed from the names of the numbers.
    """
    spec = spec or ExamineSpec()
    try:
        dataset = Dataset.open(root)
    except DatasetError as error:
        return Diagnosis(root=Path(root), findings=(_unopened(Path(root), error),))
    watched = _spread(dataset, spec.max_videos)
    shown = _spread(dataset, spec.num_shown)
    frames = sum(episode.length for episode in dataset.episodes if episode.index in watched) * len(dataset.info.cameras)
    total, done = frames + NUM_WALKS * ROW_COST * dataset.num_rows, 0.0

    def on_looked(cost: float, what: str) -> None:
        nonlocal done
        done += cost
        on_progress(min(1.0, done / total), what)

    misfits = [] if description is None else check_described(dataset, description)
    findings, ward = [*dataset.quirks, *misfits], _Ward(dataset, spec, None if misfits else description)
    findings += check_headers(dataset, frozenset(episode.index for episode in dataset.episodes) - watched)
    for view in look_through(dataset, watched, shown, spec.num_pictures, on_looked):
        findings += ward.take(view, view.episode.index in shown)
    findings += ward.conclude(on_looked)
    return ward.diagnosis(findings, len(watched))


class _Ward:
    """What is gathered while the episodes pass by."""

    def __init__(self, dataset: Dataset, spec: ExamineSpec, description: SourceDescription | None) -> None:
        self._dataset = dataset
        self._spec = spec
        self._description = description
        self._samples = [RowSample(name, dataset.num_rows) for name in (STATE, ACTION) if name in dataset.features]
        self._alignment = Alignment()
        self._labels = Labels()
        self._frames: Counter[str] = Counter()
        self._shown: list[ShownEpisode] = []
        self._dimensions = ()

    def take(self, view: EpisodeView, is_shown: bool) -> list[Finding]:
        """Looks at one episode."""
        for sample in self._samples:
            sample.add(view)
        self._alignment.add(view)
        self._labels.add(self._dataset, view)
        self._frames.update({watched.camera: watched.num_frames for watched in view.cameras})
        if is_shown:
            self._shown.append(_to_show(self._dataset, view, self._spec.num_points))
        found = [*check_episode_rows(self._dataset, view), *check_episode_videos(self._dataset, view)]
        if self._description is not None:
            return [*found, *check_episode_described(self._dataset, view, self._description)]
        return [*found, *check_episode_units(self._dataset, view)]

    def conclude(self, on_looked: Callable[[float, str], None]) -> list[Finding]:
        """What only shows when all episodes have been seen; goes through the rows, not the pictures, once more."""
        self._dimensions = tuple(dim for sample in self._samples for dim in dimensions(self._dataset, sample))
        counter = OutlierCounter(self._dimensions)
        for view in look_through(self._dataset, frozenset(), frozenset(), 0, on_looked):
            counter.add(view)
        alignment, labels = self._alignment.findings(self._dataset), self._labels.findings(self._dataset)
        numbers = [finding for finding in check_numbers(self._dimensions) if self._description is None or finding.check != "units"]
        return [*numbers, *counter.findings(), *alignment, *labels]

    def diagnosis(self, findings: Sequence[Finding], num_watched: int) -> Diagnosis:
        """All of it."""
        dataset, worst = self._dataset, worst_of(findings)
        return Diagnosis(
            root=dataset.root,
            version=dataset.info.version,
            robot=dataset.info.robot,
            fps=dataset.fps,
            num_rows=dataset.num_rows,
            seconds=dataset.num_rows / dataset.fps,
            num_watched=num_watched,
            cameras=tuple(self._camera(name) for name in dataset.info.cameras),
            dimensions=self._dimensions,
            coverage=self._labels.coverage(dataset),
            shown=tuple(self._shown),
            episodes=tuple(
                EpisodeLine(
                    index=episode.index,
                    length=episode.length,
                    seconds=episode.length / dataset.fps,
                    instruction=episode.instruction,
                    success=self._labels.successes.get(episode.index),
                    worst=worst.get(episode.index, ""),
                )
                for episode in dataset.episodes
            ),
            findings=tuple(findings),
        )

    def _camera(self, name: str) -> CameraReport:
        shape = self._dataset.features[name].shape
        files = sorted({episode.videos[name].path for episode in self._dataset.episodes if name in episode.videos})
        lag, words = self._alignment.verdict(name)
        curve = self._alignment.curve(name)
        return CameraReport(
            name=name,
            size=(shape[0], shape[1]),
            codec=_codec(files),
            num_files=len(files),
            num_frames=self._frames[name],
            lag=lag,
            alignment=words,
            curve=() if curve is None else tuple(curve.tolist()),
        )


def _to_show(dataset: Dataset, view: EpisodeView, points: int) -> ShownEpisode:
    series = {name: numbers for name in (STATE, ACTION) if (numbers := view.numbers(name)) is not None}
    return ShownEpisode(
        index=view.episode.index,
        instruction=view.episode.instruction,
        length=view.episode.length,
        seconds=view.episode.length / dataset.fps,
        series={name: thinned(numbers, points) for name, numbers in series.items()},
        pictures={watched.camera: watched.pictures for watched in view.cameras if len(watched.pictures)},
        picture_frames={watched.camera: watched.picture_frames for watched in view.cameras},
    )


def _codec(files: Sequence[Path]) -> str:
    if not files:
        return "images"
    for path in files:
        try:
            return read_header(path).codec
        except DatasetError:
            continue
    return "unreadable"


def _spread(dataset: Dataset, count: int | None) -> frozenset[int]:
    """Numbers of that many episodes, evenly spread over the dataset."""
    if count is None:
        return frozenset(episode.index for episode in dataset.episodes)
    chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return frozenset(dataset.episodes[i].index for i in chosen)


def _unopened(root: Path, error: DatasetError) -> Finding:
    what = str(error)
    return Finding(
        severity="error",
        check="opening",
        where=str(root),
        what=what,
        advice="without it nothing can be read: complete the download, or correct the file",
    )
