"""Turns finished units into one LeRobot v3.0 dataset, all or nothing: `meta/` appears last."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tau0.contract import Embodiment
from tau0.data import schema
from tau0.data.feature_stats import Stats, number_stats, pooled_stats
from tau0.data.lerobot_meta import data_schema, features, info, tasks_table
from tau0.data.writer import EPISODES_FILE, ROWS_FILE, STAGING, arrow_column, unit_path, video_file

CHUNK_SIZE = 1000
_ASSEMBLING = ".assembling"


@dataclass(kw_only=True)
class _Totals:
    """What has been assembled so far."""

    episodes: int = 0
    frames: int = 0
    groups: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, list[Stats]] = field(default_factory=lambda: defaultdict(list))


def is_assembled(root: Path) -> bool:
    """Whether `root` is a complete dataset."""
    return (root / "meta" / "info.json").is_file()


def assemble(root: Path, units: Sequence[str], embodiment: Embodiment, extra_meta: dict[str, str] | None = None) -> None:
    """Makes `root` a LeRobot v3.0 dataset of the finished `units`, in that order, and deletes them.

    Every unit becomes one data file and one video file per camera. A crash leaves the units as they were and no `meta/`; the same call
    then starts again.

    Args:
        root: Folder of the dataset; its units are in `.staging`.
        units: Names of finished units.
        embodiment: Cameras, state, action and rate of all episodes.
        extra_meta: Further files of `meta/`: name to text.
    """
    work = root / _ASSEMBLING
    for leftover in (work, root / "data", root / "videos"):
        shutil.rmtree(leftover, ignore_errors=True)
    totals = _Totals()
    for number, unit in enumerate(units):
        _add_unit(work, unit_path(root, unit), number, embodiment, totals)
    _write_meta(work / "meta", embodiment, totals)
    for name, text in (extra_meta or {}).items():
        (work / "meta" / name).write_text(text, "utf-8")
    for folder in ("data", "videos", "meta"):
        (work / folder).replace(root / folder)
    remove_scaffolding(root)


def remove_scaffolding(root: Path) -> None:
    """Deletes the units and other working folders of an assembled dataset."""
    for name in (_ASSEMBLING, STAGING):
        shutil.rmtree(root / name, ignore_errors=True)


def _add_unit(work: Path, unit: Path, number: int, embodiment: Embodiment, totals: _Totals) -> None:
    chunk, file = divmod(number, CHUNK_SIZE)
    episodes = json.loads((unit / EPISODES_FILE).read_text("utf-8"))
    table = pq.read_table(unit / ROWS_FILE)
    first_episode, first_group, start = totals.episodes, totals.groups, 0
    extra: dict[str, list[Any]] = defaultdict(list)
    for episode in episodes:
        length = episode["length"]
        task_index = totals.tasks.setdefault(episode["meta"]["instruction"], len(totals.tasks))
        numbers = _numbering(length, totals.episodes, totals.frames, task_index, embodiment.control_hz)
        stats = episode["stats"] | {name: number_stats(values) for name, values in numbers.items()}
        span = (start / embodiment.control_hz, (start + length) / embodiment.control_hz)
        place = _place(chunk, file, totals.frames, length, span, embodiment)
        own = _own_columns(episode["meta"], first_episode, first_group)
        totals.groups = max(totals.groups, own[schema.EPISODE_GROUP] + 1)
        flat = {f"stats/{name}/{key}": value for name, values in stats.items() for key, value in values.items()}
        names = {schema.EPISODE_INDEX: totals.episodes, "tasks": [episode["meta"]["instruction"]], "length": length}
        totals.rows.append(names | place | flat | own | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        for name, values in numbers.items():
            extra[name].append(values)
        for name, values in stats.items():
            totals.stats[name].append(values)
        totals.episodes, totals.frames, start = totals.episodes + 1, totals.frames + length, start + length
    _write_data(work / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet", table, extra, embodiment)
    for camera in embodiment.cameras:
        target = work / f"videos/{schema.image_key(camera.name)}/chunk-{chunk:03d}/file-{file:03d}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(unit / video_file(camera.name), target)


def _numbering(length: int, episode: int, first_index: int, task_index: int, fps: float) -> dict[str, Any]:
    frame = np.arange(length, dtype=np.int64)
    return {
        schema.TIMESTAMP: (frame / fps).astype(np.float32),
        schema.FRAME_INDEX: frame,
        schema.EPISODE_INDEX: np.full(length, episode, np.int64),
        schema.INDEX: frame + first_index,
        schema.TASK_INDEX: np.full(length, task_index, np.int64),
    }


def _place(chunk: int, file: int, first: int, length: int, span: tuple[float, float], embodiment: Embodiment) -> dict[str, Any]:
    place: dict[str, Any] = {
        "data/chunk_index": chunk,
        "data/file_index": file,
        "dataset_from_index": first,
        "dataset_to_index": first + length,
    }
    for camera in embodiment.cameras:
        key = f"videos/{schema.image_key(camera.name)}"
        place |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file}
        place |= {f"{key}/from_timestamp": span[0], f"{key}/to_timestamp": span[1]}
    return place


def _own_columns(meta: dict[str, Any], first_episode: int, first_group: int) -> dict[str, Any]:
    """The `tau0.*` columns, with numbers that counted within the unit now counting within the dataset."""
    own = {f"tau0.{name}": value for name, value in meta.items()}
    for column, first in ((schema.EPISODE_PARENT, first_episode), (schema.EPISODE_GROUP, first_group)):
        own[column] += first if own[column] >= 0 else 0
    return own


def _write_data(path: Path, table: pa.Table, extra: dict[str, list[Any]], embodiment: Embodiment) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, parts in extra.items():
        table = table.append_column(name, arrow_column(np.concatenate(parts)))
    pq.write_table(table.cast(data_schema(embodiment)), path)


def _write_meta(folder: Path, embodiment: Embodiment, totals: _Totals) -> None:
    (folder / "episodes" / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(totals.rows), folder / "episodes" / "chunk-000" / "file-000.parquet")
    pq.write_table(tasks_table(list(totals.tasks)), folder / "tasks.parquet")
    stats = {name: pooled_stats(totals.stats[name]) for name in features(embodiment)}
    (folder / "stats.json").write_text(json.dumps(stats, indent=1), "utf-8")
    summary = info(embodiment, episodes=totals.episodes, frames=totals.frames, tasks=len(totals.tasks))
    (folder / "info.json").write_text(json.dumps(summary, indent=2), "utf-8")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
