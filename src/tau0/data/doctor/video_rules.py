"""Checks of what the cameras show: is every frame there, is it a picture, does it move when the robot does."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tau0.data.doctor.row_rules import longest_run
from tau0.data.doctor.survey import EpisodeView, Numbers, row_motion
from tau0.data.doctor.watch import Watched, read_header
from tau0.data.episodes import Dataset
from tau0.data.findings import Finding, Severity
from tau0.data.info import DatasetError

FROZEN_S = 1.0
STILL = 0.05
"""Share of a camera's mean change from frame to frame below which a picture is the one before."""
BLANK = 2.0
"""A frame whose grey levels vary less than this shows nothing."""
MAX_LAG = 6
ENOUGH = 120
"""Steps that must have been compared before a camera is accused of a shift."""
SURE = 0.3
"""Motions that correlate less than this say nothing about alignment."""
CLEARLY = 0.1
"""How much better another lag must be to be believed."""


def check_episode_videos(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    """Everything about the pictures of one episode."""
    found = []
    for watched in view.cameras:
        if watched.fault:
            found.append(_damaged(dataset, view, watched))
            continue
        for check in (_count, _size, _blank, _frozen):
            found += check(dataset, view, watched)
    return found


def check_headers(dataset: Dataset, episodes: frozenset[int]) -> list[Finding]:
    """That the videos of `episodes` can be opened and are long enough, without decoding them; and the rate of them all."""
    found, rates, told = [], defaultdict(list), set()
    for episode in dataset.episodes:
        for camera, span in episode.videos.items():
            if episode.index not in episodes and span.path in told:
                continue
            told.add(span.path)
            try:
                header = read_header(span.path)
            except DatasetError as error:
                if episode.index in episodes:
                    what = str(error).removeprefix(f"{span.path} ")
                    found.append(
                        _about(dataset, episode.index, span.path, "error", "videos", what, "complete the download, or leave it out")
                    )
                continue
            rates[camera].append(header.fps)
            short_s = span.to_s - header.duration_s
            if episode.index in episodes and header.duration_s and short_s > 0.5 / dataset.fps:
                what = f"lasts {header.duration_s:.2f} s, the episode needs it up to {span.to_s:.2f} s"
                found.append(_about(dataset, episode.index, span.path, "error", "videos", what, "complete the download, or leave it out"))
    for camera, fps in rates.items():
        if other := [rate for rate in fps if rate and abs(rate / dataset.fps - 1) > 0.02]:
            what = f"{camera}: {len(other)} of {len(fps)} files have {other[0]:g} frames a second, meta/info.json says {dataset.fps:g}"
            advice = "correct fps, or write the video again"
            found.append(Finding(severity="warning", check="video rate", where="meta/info.json", what=what, advice=advice))
    return found


@dataclass
class Alignment:
    """How well the motion of pictures fits the motion of the rows, by camera and lag, gathered over episodes."""

    _correlations: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))
    _steps: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, view: EpisodeView) -> None:
        """Takes in an episode."""
        motion = row_motion(view)
        if motion is None or len(motion) < 4 * MAX_LAG or not motion.std() > 0:
            return
        for watched in view.cameras:
            if not watched.fault and len(watched.motion) == len(motion) and watched.motion.std() > 0:
                self._correlations[watched.camera].append(lagged_correlation(motion, watched.motion))
                self._steps[watched.camera] += len(motion)

    def curve(self, camera: str) -> NDArray[np.float64] | None:
        """Mean correlation at lags -MAX_LAG .. MAX_LAG, None where nothing moved."""
        return np.mean(self._correlations[camera], axis=0) if self._correlations.get(camera) else None

    def verdict(self, camera: str) -> tuple[int | None, str]:
        """The lag in frames that pictures have behind the rows, None where it cannot be told; and that in words."""
        curve = self.curve(camera)
        if curve is None:
            return None, "nothing to compare"
        best = int(curve.argmax()) - MAX_LAG
        clearly = self._steps[camera] >= ENOUGH and curve.max() - curve[MAX_LAG] >= CLEARLY
        if curve.max() < SURE or (best and not clearly):
            return None, f"cannot be told from motion (correlation {curve[MAX_LAG]:.2f})"
        if best == 0:
            return 0, f"aligned (correlation {curve.max():.2f})"
        behind = f"pictures {'trail' if best > 0 else 'lead'} the rows by {abs(best)} frames"
        return best, f"{behind} (correlation {curve.max():.2f}, {curve[MAX_LAG]:.2f} as recorded)"

    def findings(self, dataset: Dataset) -> list[Finding]:
        """A warning for every camera that is clearly shifted."""
        return [
            Finding(
                severity="warning",
                check="alignment",
                where=camera,
                what=words,
                advice=f"look at {abs(lag) / dataset.fps:.2f} s of delay in the recorder; a picture and its row must be of one instant",
            )
            for camera in dataset.info.cameras
            for lag, words in [self.verdict(camera)]
            if lag
        ]


def lagged_correlation(motion: Numbers, seen: Numbers) -> NDArray[np.float64]:
    """Correlation of what moves in the rows with what moves in pictures `lag` frames later, lags -MAX_LAG .. MAX_LAG; 0 where still."""
    values = []
    for lag in range(-MAX_LAG, MAX_LAG + 1):
        rows, pictures = motion[max(0, -lag) : len(motion) - max(0, lag)], seen[max(0, lag) : len(seen) - max(0, -lag)]
        values.append(np.corrcoef(rows, pictures)[0, 1] if rows.std() > 0 and pictures.std() > 0 else 0.0)
    return np.array(values)


def _damaged(dataset: Dataset, view: EpisodeView, watched: Watched) -> Finding:
    advice = "complete the download or encode it again; until then leave the episode out"
    return _about(dataset, view.episode.index, watched.path, "error", "videos", watched.fault, advice)


def _count(dataset: Dataset, view: EpisodeView, watched: Watched) -> list[Finding]:
    rows = view.episode.length if view.rows is not None else None
    if rows is None:
        what = f"{watched.num_frames} frames can be decoded; the rows of the episode cannot be read"
        severity: Severity = "note"
    elif watched.num_frames != rows:
        what, severity = f"{watched.num_frames} frames can be decoded, there are {rows} rows", "error"
    else:
        return []
    advice = "rows and frames must be one to one: find out which were lost"
    return [_about(dataset, view.episode.index, watched.path, severity, "rows against frames", what, advice)]


def _size(dataset: Dataset, view: EpisodeView, watched: Watched) -> list[Finding]:
    declared = dataset.features[watched.camera].shape[:2]
    if watched.size == declared:
        return []
    what = f"pictures are {watched.size[0]} x {watched.size[1]}, meta/info.json says {declared[0]} x {declared[1]} (height x width)"
    advice = "correct the shape of the feature, or the video"
    return [_about(dataset, view.episode.index, watched.path, "error", "picture size", what, advice)]


def _blank(dataset: Dataset, view: EpisodeView, watched: Watched) -> list[Finding]:
    blank = np.flatnonzero(watched.contrast < BLANK)
    if not len(blank):
        return []
    what = f"{len(blank)} of {watched.num_frames} frames show a single grey level, the first is frame {blank[0]}"
    return [_about(dataset, view.episode.index, watched.path, "warning", "blank frames", what, "see whether the camera was covered or off")]


def _frozen(dataset: Dataset, view: EpisodeView, watched: Watched) -> list[Finding]:
    """One picture for a second or longer, but for the noise of encoding, while the robot moves as much as it usually does."""
    motion = row_motion(view)
    start, length = longest_run(watched.motion <= STILL * np.mean(watched.motion) if len(watched.motion) else watched.motion > 0)
    if motion is None or length < FROZEN_S * dataset.fps or len(motion) < start + length:
        return []
    if motion[start : start + length].mean() < 0.5 * motion.mean():
        return []
    what = f"frames {start} to {start + length} are one and the same picture, while the robot moves"
    advice = "the camera hung, and these frames are to be left out; or it rides on a hand that waited, and all is well: look at them"
    return [_about(dataset, view.episode.index, watched.path, "warning", "still frames", what, advice)]


def _about(dataset: Dataset, episode: int, path: object, severity: Severity, check: str, what: str, advice: str) -> Finding:
    where = f"{str(path).removeprefix(f'{dataset.root}/')}, episode {episode}"
    return Finding(severity=severity, check=check, where=where, what=what, advice=advice, episode=episode)
