"""What a LeRobot v3.0 dataset says about itself: meta/info.json and meta/tasks.parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class DatasetError(ValueError):
    """A dataset on disk cannot be used as it is. The message names the file and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of the rows, or one camera.

    Attributes:
        name: Such as "action" or "observation.images.front".
        dtype: "float32", "int64", "bool", .. or "video".
        shape: Of one row; (height, width, 3) for a camera.
        names: One name per number, () where the dataset gives none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Info:
    """The contents of meta/info.json that a reader needs.

    Attributes:
        root: Folder of the dataset.
        robot: The robot's name, "" where none is given.
        fps: Frames, and rows, a second.
        features: By name, in the order of the file.
        data_path: Template of a data file's path, with `chunk_index` and `file_index`.
        video_path: Template of a video's path, with `video_key`, `chunk_index` and `file_index`; "" without videos.
    """

    root: Path
    robot: str
    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str

    @property
    def cameras(self) -> tuple[str, ...]:
        """Feature names of the cameras, such as "observation.images.front"."""
        return tuple(name for name, feature in self.features.items() if feature.dtype == "video")

    def feature(self, name: str) -> Feature:
        """The feature called `name`.

        Raises:
            DatasetError: When the dataset has no such feature, naming those it has.
        """
        if name not in self.features:
            raise DatasetError(
                f"{self.root / 'meta/info.json'} has no feature {name!r}{suggest(name, self.features)}; it has {', '.join(self.features)}"
            )
        return self.features[name]


def suggest(name: str, choices: Mapping[str, object]) -> str:
    """ " (did you mean ...?)" when one of `choices` resembles `name`, else ""."""
    close = get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def read_info(root: Path) -> Info:
    """Reads meta/info.json of a LeRobot v3.0 dataset.

    Raises:
        DatasetError: When the file is missing, is not JSON, lacks a field, or describes another version of the format.
    """
    path = root / "meta" / "info.json"
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: expected a LeRobot v3.0 dataset, with meta/, data/ and videos/")
    if not path.is_file():
        raise DatasetError(f"{path} is missing: {root} is not a LeRobot dataset, or its download is incomplete")
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise DatasetError(f"{path} must hold a JSON object, got {type(raw).__name__}")
    _check_version(path, str(raw.get("codebase_version", "")))
    try:
        features = {name: _feature(name, entry) for name, entry in raw["features"].items()}
        fps, data_path = float(raw["fps"]), str(raw["data_path"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} lacks or garbles a field of LeRobot v3.0: {error!r}") from error
    if not fps > 0:
        raise DatasetError(f"{path} says fps is {fps:g}, expected a positive number")
    video_path = raw.get("video_path") or ""
    return Info(root=root, robot=raw.get("robot_type") or "", fps=fps, features=features, data_path=data_path, video_path=video_path)


def read_tasks(root: Path) -> dict[int, str]:
    """Instruction by `task_index`, from meta/tasks.parquet. An instruction may be "", which says nothing.

    Raises:
        DatasetError: When the file is missing, unreadable, or has no column of text.
    """
    path = root / "meta" / "tasks.parquet"
    table = read_parquet(path)
    text = next((name for name in ("task", "__index_level_0__") if name in table.column_names), None)
    if text is None or "task_index" not in table.column_names:
        raise DatasetError(f"{path} must have the columns 'task_index' and 'task' (or '__index_level_0__'), it has {table.column_names}")
    return dict(zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True))


def read_parquet(path: Path, skip: str | None = None) -> pa.Table:
    """One parquet file as a table, without the columns whose names begin with `skip`.

    Raises:
        DatasetError: When the file is missing or cannot be read, naming it.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset is incomplete")
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=[name for name in file.schema_arrow.names if skip is None or not name.startswith(skip)])
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}") from error


def _check_version(path: Path, version: str) -> None:
    if version.startswith("v2."):
        raise DatasetError(
            f"{path} says LeRobot {version}: this release reads v3.0, a later one reads v2.x; convert it with LeRobot's own converter"
        )
    if version != "v3.0":
        raise DatasetError(f"{path} says codebase_version {version!r}, expected 'v3.0'")


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    return Feature(name=name, dtype=entry["dtype"], shape=tuple(entry["shape"]), names=tuple(_flat_names(entry.get("names"))))


def _flat_names(names: Any) -> list[str]:
    """Names of a feature as one flat list; datasets in the wild nest them in lists or dictionaries."""
    if isinstance(names, Mapping):
        names = list(names.values())
    if isinstance(names, list):
        return [flat for name in names for flat in _flat_names(name)]
    return [] if names is None else [str(names)]
