"""The rows of one episode as numpy arrays, checked: what is read here may go into a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tau0.data.catalogue import EpisodeInfo
from tau0.data.info import DatasetError, Feature, Info, read_parquet
from tau0.data.schema import EPISODE_INDEX, TASK_INDEX, TIMESTAMP

Columns = dict[str, NDArray[Any]]

_TEXT = ("video", "image", "string", "language")


def read_columns(path: Path, info: Info) -> Columns:
    """Every numeric feature of one data file, by name: shape (rows,) for single numbers, (rows, size) otherwise.

    Raises:
        DatasetError: When the file cannot be read, lacks a feature, or a feature has another size than info.json says.
    """
    table = read_parquet(path)
    features = [feature for feature in info.features.values() if feature.dtype not in _TEXT]
    missing = [feature.name for feature in features if feature.name not in table.column_names]
    if missing:
        raise DatasetError(f"{path} lacks the feature {', '.join(missing)}, which meta/info.json declares")
    return {feature.name: _column(table[feature.name].combine_chunks(), feature, path) for feature in features}


def episode_rows(columns: Mapping[str, NDArray[Any]], episode: EpisodeInfo, path: Path) -> Columns:
    """The rows of one episode out of the columns of its data file.

    Raises:
        DatasetError: When there are fewer or more rows than the episode is long.
    """
    rows = np.flatnonzero(columns[EPISODE_INDEX] == episode.index)
    if len(rows) != episode.length:
        raise DatasetError(
            f"{path} has {len(rows)} rows of episode {episode.index}, meta/episodes and the videos have {episode.length} frames"
        )
    if rows[-1] - rows[0] + 1 == len(rows):
        return {name: column[rows[0] : rows[-1] + 1] for name, column in columns.items()}
    return {name: column[rows] for name, column in columns.items()}


def check_rows(rows: Mapping[str, NDArray[Any]], episode: EpisodeInfo, tasks: Mapping[int, str], path: Path) -> None:
    """Refuses what would poison a batch in silence.

    Raises:
        DatasetError: When a number is not finite, time does not advance, or an instruction is unknown. Rows are named.
    """
    where = f"{path}, episode {episode.index}"
    for name, column in rows.items():
        if np.issubdtype(column.dtype, np.floating) and not np.isfinite(column).all():
            bad = np.flatnonzero(~np.isfinite(column.reshape(len(column), -1)).all(1))
            raise DatasetError(f"{where}: {name} is not finite in {len(bad)} rows: {_listed(bad)}")
    late = np.flatnonzero(np.diff(rows[TIMESTAMP]) <= 0) + 1
    if len(late):
        times = rows[TIMESTAMP][late[0] - 1 : late[0] + 1]
        raise DatasetError(f"{where}: time does not advance at row {late[0]}: {times[0]:.3f} s is followed by {times[1]:.3f} s")
    unknown = sorted(set(rows[TASK_INDEX].tolist()) - set(tasks))
    if unknown:
        raise DatasetError(f"{where}: task_index {_listed(unknown)} is not in meta/tasks.parquet, which has {_listed(sorted(tasks))}")


def _column(array: Any, feature: Feature, path: Path) -> NDArray[Any]:
    size = int(np.prod(feature.shape, dtype=np.int64))
    if array.null_count:
        raise DatasetError(f"{path}: feature {feature.name!r} has {array.null_count} empty rows")
    if pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        sizes = np.unique(array.value_lengths().to_numpy(zero_copy_only=False)) if len(array) else np.array([size])
        if sizes.tolist() != [size]:
            raise DatasetError(f"{path}: feature {feature.name!r} has {_listed(sizes)} numbers a row, meta/info.json says {size}")
        values = array.flatten().to_numpy(zero_copy_only=False)
        return values if size == 1 else values.reshape(len(array), size)
    if size != 1:
        raise DatasetError(f"{path}: feature {feature.name!r} has 1 number a row, meta/info.json says {size}")
    return array.to_numpy(zero_copy_only=False)


def _listed(numbers: Any, limit: int = 8) -> str:
    shown = [str(number) for number in list(numbers)[:limit]]
    return ", ".join(shown) + (", .." if len(numbers) > limit else "")
