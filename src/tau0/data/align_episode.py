"""One episode as the model sees it: its rows at the model's instants, in the layout's numbers, with labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Float
from tau0.data.align import Grid, grid, stretches
from tau0.data.catalogue import EpisodeInfo
from tau0.data.description import SourceDescription
from tau0.data.description_check import success_column
from tau0.data.episodes import Dataset
from tau0.data.info import DatasetError
from tau0.data.labels import Labels, discount, make_labels, recorded_labels, success_of
from tau0.data.layout import Layout
from tau0.data.parts import at_instants
from tau0.data.row_checks import row_errors
from tau0.data.schema import TASK_INDEX, TIMESTAMP
from tau0.data.segments import Segment
from tau0.data.table import Columns
from tau0.data.units import unit_faults

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AlignedPiece:
    """One stretch of an episode without a gap of time, at the model's rate: n rows.

    Attributes:
        info: Its length, segments and remaining steps count the model's rows; `start` is 0.
        state: Absolute, in the layout's units, shape (n, dim).
        action: Executed, shape (n, dim).
        advice: What should have been done, shape (n, dim).
        progress: In [-1, 1], shape (n,).
        progress_known: Which labels may be learned, shape (n,).
        frames: The recording's frame nearest in time, shape (n,).
        tasks: `task_index` of the instruction, shape (n,).
    """

    info: EpisodeInfo
    state: Float
    action: Float
    advice: Float
    progress: Float
    progress_known: Bools
    frames: Ints
    tasks: Ints


def align_episode(
    dataset: Dataset, episode: EpisodeInfo, description: SourceDescription, layout: Layout, rate_hz: float
) -> tuple[AlignedPiece, ...]:
    """An episode at the model's rate, in one piece or, where its time has gaps, in several.

    Raises:
        DatasetError: When it cannot be used: rows are missing, a number is not finite or in no possible unit, or time does not advance.
    """
    rows = _sound_rows(dataset, episode, description)
    period_s = 1 / dataset.fps
    clock = np.arange(episode.length) * period_s if description.clock == "frames" else rows[TIMESTAMP]
    times_s = np.asarray(clock, np.float64)
    segments = dataset.segments(episode)
    success, labels = _labels(rows, episode, segments, description, discount(dataset.fps, rate_hz))
    kind = "failure" if success is False and episode.kind == "demonstration" else episode.kind
    steps_left = round(episode.remaining * rate_hz / dataset.fps) if episode.remaining > 0 else episode.remaining
    info = replace(episode, start=0, kind=kind, success=success, remaining=steps_left)
    pieces = []
    for stretch in stretches(times_s, period_s):
        at = grid(times_s[stretch], rate_hz, period_s, first_row=stretch.start)
        own = replace(info, length=len(at), segments=_segments_at(segments, at.nearest))
        pieces.append(_piece(own, rows, at, labels, description, layout))
    return tuple(pieces)


def _sound_rows(dataset: Dataset, episode: EpisodeInfo, description: SourceDescription) -> Columns:
    """The rows, checked for everything that a row can have wrong. A clock that is not believed is not checked."""
    rows = dataset.unchecked(episode)
    for finding in row_errors(rows, episode, dataset.info, dataset.tasks):
        if finding.check != "time" or description.clock == "timestamps":
            raise DatasetError(f"{episode.data_path}, episode {episode.index}: {finding.what}")
    for fault in unit_faults(description, rows, 1 / dataset.fps):
        raise DatasetError(f"{episode.data_path}, episode {episode.index}: {fault}")
    return rows


def _labels(
    rows: Columns, episode: EpisodeInfo, segments: tuple[Segment, ...], description: SourceDescription, gamma: float
) -> tuple[bool | None, Labels]:
    """Whether the episode succeeded, and its labels frame by frame."""
    flag = False if episode.kind == "failure" and episode.success is None else episode.success
    column = success_column(description)
    always = None if description.success is None else description.success == "all"
    success, solved_at = success_of(flag, None if column is None else rows[column], always)
    if description.progress is not None:
        return success, recorded_labels(rows[description.progress])
    return success, make_labels(episode.length, segments, success, solved_at, gamma)


def _piece(info: EpisodeInfo, rows: Columns, at: Grid, labels: Labels, description: SourceDescription, layout: Layout) -> AlignedPiece:
    action = at_instants(description.action, layout, rows, at, "action")
    advice = action
    if description.advice:
        advice = at_instants({**description.action, **description.advice}, layout, rows, at, "advice")
    return AlignedPiece(
        info=info,
        state=at_instants(description.state, layout, rows, at, "state"),
        action=action,
        advice=advice,
        progress=labels.progress[at.nearest],
        progress_known=labels.known[at.nearest],
        frames=at.nearest,
        tasks=rows[TASK_INDEX][at.nearest].astype(np.int64),
    )


def _segments_at(segments: tuple[Segment, ...], frames: Ints) -> tuple[Segment, ...]:
    """Segments in the model's rows, whose `frames` of the recording are given. What no row falls into is left out."""
    found = []
    for segment in segments:
        start, stop = np.searchsorted(frames, [segment.start, segment.stop]).tolist()
        if start < stop:
            found.append(replace(segment, start=start, stop=stop))
    return tuple(found)
