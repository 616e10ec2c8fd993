"""What is wrong with the rows of an episode such that they must not go into a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.data.catalogue import EpisodeInfo
from tau0.data.findings import Finding
from tau0.data.info import Info
from tau0.data.schema import TASK_INDEX, TIMESTAMP

Columns = Mapping[str, NDArray[Any]]


def row_errors(rows: Columns, episode: EpisodeInfo, info: Info, tasks: Mapping[int, str]) -> list[Finding]:
    """Everything that would poison a batch in silence: numbers that are not finite, time that stands still, unknown instructions."""
    return [*_not_finite(rows, episode, info), *_time_stands_still(rows, episode, info), *_unknown_tasks(rows, episode, info, tasks)]


def listed(numbers: Sequence[Any] | NDArray[Any], limit: int = 8) -> str:
    """The first few, with commas."""
    shown = [str(number) for number in list(numbers)[:limit]]
    return ", ".join(shown) + (", .." if len(numbers) > limit else "")


def place(episode: EpisodeInfo, info: Info) -> str:
    """Where an episode's rows are, relative to the dataset."""
    return f"{episode.data_path.relative_to(info.root)}, episode {episode.index}"


def _not_finite(rows: Columns, episode: EpisodeInfo, info: Info) -> list[Finding]:
    found = []
    for name, column in rows.items():
        if not np.issubdtype(column.dtype, np.floating) or np.isfinite(column).all():
            continue
        bad = ~np.isfinite(column.reshape(len(column), -1))
        at, dimensions = np.flatnonzero(bad.any(1)), np.flatnonzero(bad.any(0))
        names = info.features[name].names if name in info.features else ()
        of = f" of {listed([names[i] if i < len(names) else i for i in dimensions])}" if bad.shape[1] > 1 else ""
        found.append(
            Finding(
                severity="error",
                check="finite numbers",
                where=place(episode, info),
                what=f"{name} is not finite in {len(at)} rows{of}: {listed(at)}",
                advice="leave the episode out, or record it again; a missing number cannot be trained on",
                episode=episode.index,
            )
        )
    return found


def _time_stands_still(rows: Columns, episode: EpisodeInfo, info: Info) -> list[Finding]:
    times = rows[TIMESTAMP]
    late = np.flatnonzero(np.diff(times) <= 0) + 1
    if not len(late):
        return []
    return [
        Finding(
            severity="error",
            check="time",
            where=place(episode, info),
            what=f"time does not advance at row {late[0]}: {times[late[0] - 1]:.3f} s is followed by {times[late[0]]:.3f} s"
            + (f"; so at {len(late)} rows" if len(late) > 1 else ""),
            advice="put the rows in the order of their time, or leave the episode out",
            episode=episode.index,
        )
    ]


def _unknown_tasks(rows: Columns, episode: EpisodeInfo, info: Info, tasks: Mapping[int, str]) -> list[Finding]:
    unknown = sorted(set(rows[TASK_INDEX].tolist()) - set(tasks))
    if not unknown:
        return []
    return [
        Finding(
            severity="error",
            check="instructions",
            where=place(episode, info),
            what=f"task_index {listed(unknown)} is not in {info.tasks_file}, which has {listed(sorted(tasks))}",
            advice=f"add the text to {info.tasks_file}, or correct the rows",
            episode=episode.index,
        )
    ]
