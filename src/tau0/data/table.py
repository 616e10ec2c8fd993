"""The rows of one episode as numpy arrays, checked: what is read here may go into a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tau0.data.catalogue import EpisodeInfo
from tau0.data.info import DatasetError, Feature, Info, open_parquet
from tau0.data.row_checks import listed, row_errors
from tau0.data.schema import EPISODE_INDEX, FRAME_INDEX, INDEX, TASK_INDEX, TIMESTAMP

Columns = dict[str, NDArray[Any]]

FOOTERS_KEPT = 4
NUMBERING = (TIMESTAMP, FRAME_INDEX, EPISODE_INDEX, INDEX, TASK_INDEX)
_TEXT = ("video", "image", "string", "language")


_Groups = tuple[tuple[int, int] | None, ...]
"""The first and last episode of each row group of a file, None where not told."""


class RowReader:
    """Reads single episodes of a dataset, and holds no more than the row groups of the last one.

    LeRobot writes a row group for each episode, so that this is one episode; a file in one piece is held whole.
    """

    def __init__(self, info: Info, tasks: Mapping[int, str]) -> None:
        self._info = info
        self._task_of = {text: index for index, text in tasks.items()}
        self._footers: dict[Path, pq.FileMetaData] = {}
        self._groups: dict[Path, _Groups] = {}
        self._held: tuple[Path, tuple[int, ...], Columns] | None = None

    def rows(self, episode: EpisodeInfo) -> Columns:
        """The numeric columns of an episode, unchecked: shape (length,) for single numbers, (length, size) otherwise.

        Time, frame numbers and the like are worked out where the file lacks them.

        Raises:
            DatasetError: When the file is missing or cannot be read, lacks a feature, a feature has another size than info.json says,
                or there are fewer or more rows than the episode is long.
        """
        path = episode.data_path
        with open_parquet(path, self._footers.pop(path, None)) as file:
            self._remember(path, file.metadata)
            groups = self._groups_with(path, None if self._info.has_file_per_episode else episode.index)
            if self._held is None or self._held[:2] != (path, groups):
                self._held = None
                self._held = path, groups, _read_columns(file, groups, path, self._info)
        own = _rows_of(self._held[2], episode, path, self._info)
        return own | {name: self._worked_out(name, episode) for name in NUMBERING if name not in own}

    def _remember(self, path: Path, footer: pq.FileMetaData) -> None:
        """Keeps the footers of the files used last: parsing one takes longer than reading an episode.

        Of every file it keeps which episodes are where: asking a footer leaves rubbish behind, megabytes for a hundred groups.
        """
        self._footers[path] = footer
        while len(self._footers) > FOOTERS_KEPT:
            del self._footers[next(iter(self._footers))]
        if path not in self._groups:
            self._groups[path] = _episodes_of_groups(footer)

    def _groups_with(self, path: Path, episode: int | None) -> tuple[int, ...]:
        """The row groups of a file that may hold rows of an episode; all of them for None."""
        spans = self._groups[path]
        return tuple(i for i, span in enumerate(spans) if span is None or episode is None or span[0] <= episode <= span[1])

    def _worked_out(self, name: str, episode: EpisodeInfo) -> NDArray[Any]:
        frame = np.arange(episode.length)
        if name == TASK_INDEX and episode.instruction not in self._task_of:
            text = episode.instruction
            raise DatasetError(f"{episode.data_path} lacks {name}, and the text {text!r} of episode {episode.index} is not among the tasks")
        worked_out = {
            TIMESTAMP: lambda: frame / self._info.fps,
            FRAME_INDEX: lambda: frame,
            EPISODE_INDEX: lambda: np.full(episode.length, episode.index),
            INDEX: lambda: episode.start + frame,
            TASK_INDEX: lambda: np.full(episode.length, self._task_of[episode.instruction]),
        }
        return worked_out[name]()


def check_rows(rows: Mapping[str, NDArray[Any]], episode: EpisodeInfo, info: Info, tasks: Mapping[int, str]) -> None:
    """Refuses what would poison a batch in silence.

    Raises:
        DatasetError: When a number is not finite, time does not advance, or an instruction is unknown. Rows are named.
    """
    for finding in row_errors(rows, episode, info, tasks):
        raise DatasetError(f"{episode.data_path}, episode {episode.index}: {finding.what}")


def _read_columns(file: pq.ParquetFile, groups: tuple[int, ...], path: Path, info: Info) -> Columns:
    there = set(file.schema_arrow.names)
    wanted = {feature.name: feature for feature in info.features.values() if feature.dtype not in _TEXT}
    missing = [name for name in wanted if name not in there and (name not in NUMBERING or _must_be_told(name, info))]
    if missing:
        raise DatasetError(f"{path} lacks the feature {', '.join(missing)}, which meta/info.json declares")
    numbering = {name: Feature(name=name, dtype="", shape=(1,), names=()) for name in NUMBERING}
    features = [feature for name, feature in (numbering | wanted).items() if name in there]
    table = file.read_row_groups(list(groups), columns=[feature.name for feature in features], use_threads=False)
    return {feature.name: _column(table[feature.name].combine_chunks(), feature, path) for feature in features}


def _episodes_of_groups(footer: pq.FileMetaData) -> _Groups:
    names, spans = footer.schema.names, []
    for group in range(footer.num_row_groups):
        told = footer.row_group(group).column(names.index(EPISODE_INDEX)).statistics if EPISODE_INDEX in names else None
        spans.append((told.min, told.max) if told is not None and told.has_min_max else None)
    return tuple(spans)


def _must_be_told(name: str, info: Info) -> bool:
    return name == EPISODE_INDEX and not info.has_file_per_episode


def _rows_of(columns: Columns, episode: EpisodeInfo, path: Path, info: Info) -> Columns:
    """The rows of one episode out of what was read of its file."""
    if info.has_file_per_episode:
        rows = np.arange(len(next(iter(columns.values()), ())))
    else:
        rows = np.flatnonzero(columns[EPISODE_INDEX] == episode.index)
    if len(rows) != episode.length:
        raise DatasetError(f"{path} has {len(rows)} rows of episode {episode.index}, the list of episodes says {episode.length} frames")
    if rows[-1] - rows[0] + 1 == len(rows):
        return {name: column[rows[0] : rows[-1] + 1] for name, column in columns.items()}
    return {name: column[rows] for name, column in columns.items()}


def _column(array: Any, feature: Feature, path: Path) -> NDArray[Any]:
    """Numbers of a column, shape (rows,) or (rows, size); lists within lists are laid out flat."""
    size, count = int(np.prod(feature.shape, dtype=np.int64)), len(array)
    if array.null_count:
        raise DatasetError(f"{path}: feature {feature.name!r} has {array.null_count} empty rows")
    per_row = np.ones(count, np.int64)
    while pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(per_row)])
        per_row = np.add.reduceat(np.append(lengths, 0), starts[:-1]) if count else per_row
        array = array.flatten()
    if count and (sizes := np.unique(per_row)).tolist() != [size]:
        raise DatasetError(f"{path}: feature {feature.name!r} has {listed(sizes)} numbers a row, meta/info.json says {size}")
    if pa.types.is_null(array.type) or not (pa.types.is_boolean(array.type) or pa.types.is_primitive(array.type)):
        raise DatasetError(f"{path}: feature {feature.name!r} holds {array.type}, meta/info.json says {feature.dtype}")
    values = array.to_numpy(zero_copy_only=False)
    return values if size == 1 else values.reshape(count, size)
