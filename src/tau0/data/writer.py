"""Writes recordings in units: a unit is a folder of a few episodes that is either complete or absent.

Units make collecting parallel and resumable. `tau0.data.assemble` turns them into a LeRobot v3.0 dataset.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tau0.contract import Embodiment
from tau0.data import schema
from tau0.data.feature_stats import image_stats, number_stats
from tau0.data.schema import EpisodeRecord
from tau0.data.video_writer import VideoWriter

STAGING = ".staging"
ROWS_FILE = "rows.parquet"
EPISODES_FILE = "episodes.json"
_PARTIAL = ".partial"


def unit_path(root: Path, unit: str) -> Path:
    """Where the finished unit of that name lies."""
    return root / STAGING / unit


def video_file(camera: str) -> str:
    """A unit's video of one camera."""
    return f"{camera}.mp4"


def remove_partial_units(root: Path) -> None:
    """Deletes units that an interrupted run left unfinished. Nobody may be writing."""
    for folder in (root / STAGING).glob(f"*{_PARTIAL}"):
        shutil.rmtree(folder)


class UnitWriter:
    """Writes episodes to disk one by one, holding no pictures; the unit appears under its name when the `with` block ends well.

    Example:
        with UnitWriter(root, "reach-v3-demonstration-0000", embodiment) as writer:
            writer.add(record)
    """

    def __init__(self, root: Path, unit: str, embodiment: Embodiment) -> None:
        self._final = unit_path(root, unit)
        self._partial = self._final.with_name(unit + _PARTIAL)
        self._embodiment = embodiment
        self._episodes: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._videos: dict[str, VideoWriter] = {}

    def __enter__(self) -> UnitWriter:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        for camera in self._embodiment.cameras:
            path = self._partial / video_file(camera.name)
            self._videos[camera.name] = VideoWriter(path, camera.height, camera.width, self._embodiment.control_hz)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._finish()
        else:
            shutil.rmtree(self._partial, ignore_errors=True)

    def add(self, record: EpisodeRecord) -> int:
        """Encodes and keeps one episode. Returns its number within the unit, which `EpisodeMeta.parent` of later ones may name.

        Raises:
            ValueError: Its cameras are not the embodiment's.
        """
        wanted = {camera.name for camera in self._embodiment.cameras}
        if set(record.images) != wanted:
            raise ValueError(f"episode has cameras {sorted(record.images)}, the embodiment {self._embodiment.name!r} has {sorted(wanted)}")
        for camera, video in self._videos.items():
            video.append(record.images[camera])
        columns = _columns(record)
        stats = {schema.image_key(camera): image_stats(frames) for camera, frames in record.images.items()}
        stats |= {name: number_stats(values) for name, values in columns.items()}
        self._rows.append(columns)
        self._episodes.append({"length": len(record), "meta": asdict(record.meta), "stats": stats})
        return len(self._episodes) - 1

    def _finish(self) -> None:
        for video in self._videos.values():
            video.close()
        if not self._rows:
            raise ValueError(f"unit {self._final.name} has no episode: nothing to write")
        columns = {name: np.concatenate([rows[name] for rows in self._rows]) for name in self._rows[0]}
        pq.write_table(pa.table({name: arrow_column(values) for name, values in columns.items()}), self._partial / ROWS_FILE)
        (self._partial / EPISODES_FILE).write_text(json.dumps(self._episodes), "utf-8")
        self._partial.replace(self._final)


def arrow_column(values: Any) -> pa.Array:
    """A column of numbers (t,), or of fixed-size lists for (t, n)."""
    array = np.ascontiguousarray(values)
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _columns(record: EpisodeRecord) -> dict[str, Any]:
    return {
        schema.STATE: record.state.astype(np.float32),
        schema.ACTION: record.action.astype(np.float32),
        schema.EXPERT_ACTION: record.expert_action.astype(np.float32),
        schema.PROGRESS: record.progress.astype(np.float32),
        schema.NEXT_SUCCESS: record.next_success.astype(np.bool_),
        schema.NEXT_DONE: record.next_done,
    }
