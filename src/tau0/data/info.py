"""What a LeRobot dataset says about itself: meta/info.json, and meta/tasks.parquet of v3.0."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

VERSIONS = ("v3.0", "v2.1", "v2.0")
CHUNKS_SIZE = 1000


class DatasetError(ValueError):
    """A dataset on disk cannot be used as it is. The message names the file and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of the rows, or one camera.

    Attributes:
        name: Such as "action" or "observation.images.front".
        dtype: "float32", "int64", "bool", .., or for a camera "video" or "image".
        shape: Of one row; (height, width, 3) for a camera.
        names: One name per number, () where the dataset gives none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def is_camera(self) -> bool:
        """Whether it is pictures: in a video file, or one by one in the rows."""
        return self.dtype in ("video", "image")


@dataclass(frozen=True, kw_only=True)
class Info:
    """The contents of meta/info.json that a reader needs.

    Attributes:
        root: Folder of the dataset.
        version: Of the format, one of `VERSIONS`.
        robot: The robot's name, "" where none is given.
        fps: Frames, and rows, a second.
        features: By name, in the order of the file.
        data_path: Template of a data file's path, with `chunk_index` and `file_index`; in v2 with `episode_chunk` and `episode_index`.
        video_path: Template of a video's path, with these and `video_key`; "" without videos.
        chunks_size: Files, in v2 episodes, to a chunk.
        totals: What it says about its size, such as "total_frames"; what is really there may differ.
    """

    root: Path
    version: str
    robot: str
    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str
    chunks_size: int
    totals: Mapping[str, int]

    @property
    def has_file_per_episode(self) -> bool:
        """Whether each episode has files of its own, as in v2; in v3.0 several share one."""
        return self.version.startswith("v2.")

    @property
    def tasks_file(self) -> str:
        """Where the instructions are listed."""
        return "meta/tasks.jsonl" if self.has_file_per_episode else "meta/tasks.parquet"

    @property
    def cameras(self) -> tuple[str, ...]:
        """Feature names of the cameras, such as "observation.images.front"."""
        return tuple(name for name, feature in self.features.items() if feature.is_camera)

    @property
    def video_cameras(self) -> tuple[str, ...]:
        """Feature names of the cameras whose pictures are in video files."""
        return tuple(name for name, feature in self.features.items() if feature.dtype == "video")

    def path(self, field: Literal["data_path", "video_path"], **values: int | str) -> Path:
        """The file that a template names for `values`.

        Raises:
            DatasetError: When the template asks for something else.
        """
        template = self.data_path if field == "data_path" else self.video_path
        try:
            return self.root / template.format(**values)
        except (KeyError, IndexError, ValueError) as error:
            given = ", ".join(values)
            raise DatasetError(f"{self.root / 'meta/info.json'}: {field} is {template!r}, expected a template of {given}") from error

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
    """Reads meta/info.json of a LeRobot dataset, v3.0, v2.1 or v2.0.

    Raises:
        DatasetError: When the file is missing, is not JSON, lacks a field, or describes another version of the format.
    """
    path = root / "meta" / "info.json"
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: expected a LeRobot dataset, with meta/, data/ and videos/")
    if not path.is_file():
        raise DatasetError(f"{path} is missing: {root} is not a LeRobot dataset, or its download is incomplete")
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise DatasetError(f"{path} must hold a JSON object, got {type(raw).__name__}")
    version = _version(path, str(raw.get("codebase_version", "")))
    try:
        info = Info(
            root=root,
            version=version,
            robot=str(raw.get("robot_type") or ""),
            fps=float(raw["fps"]),
            features={name: _feature(name, entry) for name, entry in raw["features"].items()},
            data_path=str(raw["data_path"]),
            video_path=raw.get("video_path") or "",
            chunks_size=int(raw.get("chunks_size") or CHUNKS_SIZE),
            totals={name: value for name, value in raw.items() if name.startswith("total_") and isinstance(value, int)},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} lacks or garbles a field of LeRobot {version}: {error!r}") from error
    if not info.fps > 0:
        raise DatasetError(f"{path} says fps is {info.fps:g}, expected a positive number")
    return info


def read_tasks(root: Path) -> dict[int, str]:
    """Instruction by `task_index`, from meta/tasks.parquet. An instruction may be "", which says nothing.

    Raises:
        DatasetError: When the file is missing, unreadable, or has no column of text.
    """
    return _read_texts(root / "meta" / "tasks.parquet", "task")


def read_subtasks(root: Path) -> dict[int, str]:
    """Text by `subtask_index`, from meta/subtasks.parquet.

    Raises:
        DatasetError: When the file is missing, unreadable, or has no column of text.
    """
    return _read_texts(root / "meta" / "subtasks.parquet", "subtask")


def _read_texts(path: Path, kind: str) -> dict[int, str]:
    table, index = read_parquet(path), f"{kind}_index"
    text = next((name for name in (kind, "__index_level_0__") if name in table.column_names), None)
    if text is None or index not in table.column_names:
        raise DatasetError(f"{path} must have the columns {index!r} and {kind!r} (or '__index_level_0__'), it has {table.column_names}")
    return dict(zip(table[index].to_pylist(), table[text].to_pylist(), strict=True))


def read_parquet(path: Path, skip: str | None = None) -> pa.Table:
    """One parquet file as a table, without the columns whose names begin with `skip`.

    Raises:
        DatasetError: When the file is missing or cannot be read, naming it.
    """
    with open_parquet(path) as file:
        return file.read(columns=[name for name in file.schema_arrow.names if skip is None or not name.startswith(skip)])


@contextmanager
def open_parquet(path: Path, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """One parquet file, open; `metadata` saves reading its footer again.

    Raises:
        DatasetError: When the file is missing, or cannot be opened or read while it is open, naming it.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset is incomplete")
    try:
        with pq.ParquetFile(path, metadata=metadata) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}") from error


def _version(path: Path, version: str) -> str:
    if version not in VERSIONS:
        raise DatasetError(f"{path} says codebase_version {version!r}, expected one of {', '.join(map(repr, VERSIONS))}")
    return version


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    dtype, shape, names = str(entry["dtype"]), tuple(map(int, entry["shape"])), tuple(_flat_names(entry.get("names")))
    if dtype in ("video", "image") and len(shape) == 3 and (names[:1] in (("channel",), ("channels",)) or shape[0] == 3 != shape[2]):
        shape = (*shape[1:], shape[0])
    return Feature(name=name, dtype=dtype, shape=shape, names=names)


def _flat_names(names: Any) -> list[str]:
    """Names of a feature as one flat list; datasets in the wild nest them in lists or dictionaries."""
    if isinstance(names, Mapping):
        names = list(names.values())
    if isinstance(names, list):
        return [flat for name in names for flat in _flat_names(name)]
    return [] if names is None else [str(names)]
