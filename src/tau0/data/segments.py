"""Parts of an episode that are about one subtask, from the annotations that datasets carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One subtask of an episode: its frames `start` to `stop`, the last not included.

    Attributes:
        start: First frame, counted within the episode.
        stop: The frame after its last.
        text: What is done in it, "" where the dataset does not say.
        success: Whether it was achieved, None where unknown.
    """

    start: int
    stop: int
    text: str
    success: bool | None = None


def listed_segments(entries: Sequence[Mapping[str, Any]]) -> tuple[Segment, ...]:
    """Segments as AgiBot World lists them with each episode, under `action_config`.

    Raises:
        KeyError: An entry lacks `start_frame` or `end_frame`.
        ValueError: A frame is not a number, or a segment ends before it starts.
    """
    segments = []
    for entry in entries:
        start, stop = int(entry["start_frame"]), int(entry["end_frame"])
        if not 0 <= start < stop:
            raise ValueError(f"segment from frame {start} to {stop}, expected 0 <= start < end")
        success = entry.get("success")
        text = str(entry.get("action_text") or entry.get("skill") or "")
        segments.append(Segment(start=start, stop=stop, text=text, success=None if success is None else bool(success)))
    return tuple(segments)


def listed_columns(names: Sequence[str], starts: Sequence[int], stops: Sequence[int]) -> tuple[Segment, ...]:
    """Segments as LeRobot's own annotation lists them with each episode, in three columns `sparse_subtask_*`.

    Raises:
        ValueError: The columns differ in length, or a segment ends before it starts.
    """
    entries = [
        {"action_text": name, "start_frame": start, "end_frame": stop} for name, start, stop in zip(names, starts, stops, strict=True)
    ]
    return listed_segments(entries)


def row_segments(indices: NDArray[np.int64], texts: Mapping[int, str]) -> tuple[Segment, ...]:
    """Runs of one `subtask_index` over the rows of an episode, shape (length,). Rows with a negative index are in no segment.

    Raises:
        KeyError: An index has no text.
    """
    if not len(indices):
        return ()
    borders = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    runs = [(start, stop, int(indices[start])) for start, stop in pairwise(borders)]
    return tuple(Segment(start=start, stop=stop, text=texts[index]) for start, stop, index in runs if index >= 0)
