"""What finished episodes left beside their results: an evaluation that goes on runs none of them again, whatever it is asked to keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from tau0.evaluate.records import read_records
from tau0.evaluate.trace import TraceError
from tau0.evaluate.workers import Episode, Recording


def finished_traces(out: Path, episodes: Collection[Episode], modes: Collection[str], recording: Recording) -> list[tuple[Episode, Path]]:
    """Those of the episodes that `out` holds already in one of the modes, each with the folder where its trace should be.

    Raises:
        RecordsError: `out` is there and cannot be read.
    """
    wanted, found = set(episodes), {}
    for record in read_records(out) if out.is_file() else ():
        result = record.result
        episode = Episode(task=result.task, seed=result.seed, instruction=record.requested_instruction)
        if episode in wanted and result.mode in modes:
            found[recording.trace_folder(episode, result.mode)] = episode
    return [(episode, folder) for folder, episode in found.items()]


def num_without(folders: Iterable[Path], holds: Callable[[Path], bool]) -> int:
    """How many of the folders hold no trace that can be read, or one without what `holds` looks for."""
    return sum(not _holds(folder, holds) for folder in folders)


def _holds(folder: Path, holds: Callable[[Path], bool]) -> bool:
    try:
        return folder.is_dir() and holds(folder)
    except TraceError:
        return False
