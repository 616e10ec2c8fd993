"""Progress labels of episodes that carry none: from subtask segments, success flags and failures (SPEC.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Float
from tau0.data.info import DatasetError
from tau0.data.progress import FAILED, GAMMA, success_progress, window_progress
from tau0.data.segments import Segment

SLACK = 1e-6
"""How far a labelled column may lie outside [-1, 1] by rounding."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is known of an episode's progress, frame by frame of the recording.

    Attributes:
        progress: In [-1, 1], shape (frames,).
        known: Which may be learned, shape (frames,). An episode of which nothing is known supervises no progress.
    """

    progress: Float
    known: NDArray[np.bool_]


def discount(fps: float, rate_hz: float) -> float:
    """The discount per frame of a recording at `fps`, such that one step of the model at `rate_hz` is discounted by `GAMMA`.

    Sources of all rates then give the same label to the same time before the end (docs/adr/0007).
    """
    return GAMMA ** (rate_hz / fps)


def make_labels(frames: int, segments: Sequence[Segment], success: bool | None, solved_at: int | None, gamma: float) -> Labels:
    """Labels of one episode.

    Segments that succeeded are discounted towards their end, with T counted in the recording's own frames; one of which nothing is said
    counts as a success where the episode does. Outside of them, and in failed ones, the label is -1. Without segments, an episode that
    succeeded is one segment up to the frame at which it was solved, and remains at 1 afterwards; one that failed is -1 throughout. What
    nobody judged is not known.

    Args:
        frames: Of the episode.
        segments: Its subtasks, in its frames.
        success: Of the whole episode, None where nobody knows.
        solved_at: The frame at which it was first solved, None where only the whole is known.
        gamma: Discount per frame.
    """
    progress, known = np.full(frames, FAILED, np.float32), np.ones(frames, np.bool_)
    if success is None and all(segment.success is None for segment in segments):
        return Labels(progress=progress, known=~known)
    if not segments and success:
        return Labels(progress=window_progress(frames, frames if solved_at is None else solved_at + 1, gamma), known=known)
    for segment in segments:
        span, outcome = slice(segment.start, segment.stop), success if segment.success is None else segment.success
        if outcome:
            progress[span] = success_progress(segment.stop - segment.start, gamma)[: max(0, frames - segment.start)]
        known[span] = outcome is not None
    return Labels(progress=progress, known=known)


def recorded_labels(column: NDArray[np.floating]) -> Labels:
    """Labels that the recording carries, as they are.

    Raises:
        DatasetError: When one is outside [-1, 1].
    """
    progress = np.asarray(column, np.float32).reshape(-1)
    if progress.min() < -1 - SLACK or progress.max() > 1 + SLACK:
        raise DatasetError(f"progress labels lie between {progress.min():.4g} and {progress.max():.4g}, expected [-1, 1]")
    return Labels(progress=progress, known=np.ones(len(progress), np.bool_))


def success_of(flag: bool | None, column: NDArray[Any] | None, always: bool | None) -> tuple[bool | None, int | None]:
    """Whether an episode succeeded, None where nobody knows, and the frame at which it was first solved, None where that is not told.

    Args:
        flag: The recording's own of the whole episode. It goes first.
        column: A flag row by row, whose last says whether the episode succeeded. One that is the same in all rows is about the whole
            episode and does not tell when.
        always: What is known of all episodes of the source.
    """
    rows = None if column is None else np.asarray(column, np.float64).reshape(-1) > 0.5
    told = bool(rows[-1]) if rows is not None else always
    success = told if flag is None else flag
    tells_when = success and rows is not None and bool(rows.any()) and not rows.all()
    return success, int(rows.argmax()) if tells_when and rows is not None else None
