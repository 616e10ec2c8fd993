"""Datasets of LeRobot v2.0 and v2.1: metadata in lines of JSON, one parquet file and one video per camera for each episode."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tau0.data.catalogue import Contents, EpisodeInfo, VideoSpan, absent_quirks, check_numbers, total_quirks
from tau0.data.findings import Finding
from tau0.data.info import DatasetError, Info
from tau0.data.segments import listed_segments

SUCCESS_FIELDS = ("success", "is_success", "is_episode_successful")
_TASKS, _EPISODES = "meta/tasks.jsonl", "meta/episodes.jsonl"


def read_v2(info: Info) -> Contents:
    """What a dataset of v2.0 or v2.1 contains. Nothing is read but meta/; of other files it is only asked whether they exist.

    Episodes are those that meta/episodes.jsonl lists, whatever their numbers. A file that is not where info.json's templates say is
    looked for by its name; a camera of which there is no file at all is left out. Both are said in `quirks`.

    Raises:
        DatasetError: When a file of meta/ is missing or a line of it is not what the format wants. File, line and field are named.
    """
    tasks = {_integer(row, "task_index", where): _text(row, "task", where) for where, row in _lines(info.root / _TASKS)}
    rows = sorted(_lines(info.root / _EPISODES), key=lambda line: _integer(line[1], "episode_index", line[0]))
    if not rows:
        raise DatasetError(f"{info.root / _EPISODES} lists no episodes: nothing was recorded")
    files = _Files(info)
    episodes: list[EpisodeInfo] = []
    for where, row in rows:
        episodes.append(_episode(row, where, info, files, start=episodes[-1].stop if episodes else 0))
    check_numbers(episodes, info.root / _EPISODES)
    absent = [camera for camera in info.video_cameras if camera not in files.cameras_found]
    kept = tuple(_without(episode, absent) for episode in episodes)
    info = replace(info, features={name: feature for name, feature in info.features.items() if name not in absent})
    quirks = (*total_quirks(info, kept), *absent_quirks(info.root, absent), *files.quirks())
    return Contents(info=info, tasks=tasks, episodes=kept, quirks=quirks)


class _Files:
    """Where the files of episodes really are."""

    def __init__(self, info: Info) -> None:
        self._info = info
        self._moved: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
        self.cameras_found: set[str] = set()

    def data(self, episode: int) -> Path:
        """The rows of an episode."""
        return self._found("data_path", episode)

    def video(self, episode: int, camera: str) -> Path:
        """The pictures of one camera in an episode."""
        path = self._found("video_path", episode, camera)
        if path.is_file():
            self.cameras_found.add(camera)
        return path

    def quirks(self) -> tuple[Finding, ...]:
        """What the templates had wrong."""
        return tuple(
            Finding(
                severity="warning",
                check="file templates",
                where="meta/info.json",
                what=f"{field} names {moves[0][0].relative_to(self._info.root)}, the file is {moves[0][1].relative_to(self._info.root)}"
                + (f"; so for {len(moves)} files" if len(moves) > 1 else ""),
                advice="the files were found by their names; correct the template",
            )
            for field, moves in self._moved.items()
        )

    def _found(self, field: Literal["data_path", "video_path"], episode: int, camera: str = "") -> Path:
        chunk = episode // self._info.chunks_size
        expected = self._info.path(field, episode_chunk=chunk, episode_index=episode, video_key=camera)
        if expected.is_file():
            return expected
        others = [path for path in self._by_name.get(expected.name, ()) if not camera or camera in path.parts]
        if len(others) != 1:
            return expected
        self._moved[field].append((expected, others[0]))
        return others[0]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """Every parquet and video file by its name: listed once, and only when one is not where it should be."""
        found: dict[str, list[Path]] = defaultdict(list)
        for folder in ("data", "videos"):
            for path in (self._info.root / folder).rglob("episode_*.*"):
                found[path.name].append(path)
        return found


def _episode(row: Mapping[str, Any], where: str, info: Info, files: _Files, start: int) -> EpisodeInfo:
    index, length, tasks = _integer(row, "episode_index", where), _integer(row, "length", where), row.get("tasks") or []
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise DatasetError(f"{where}: tasks is {tasks!r}, expected a list of texts")
    success = next((bool(row[name]) for name in SUCCESS_FIELDS if isinstance(row.get(name), bool | int)), None)
    try:
        segments = listed_segments(row.get("action_config") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{where}: action_config cannot be read: {error}") from error
    return EpisodeInfo(
        index=index,
        length=length,
        start=start,
        tasks=tuple(tasks),
        data_path=files.data(index),
        videos={camera: VideoSpan(path=files.video(index, camera), from_s=0.0, to_s=length / info.fps) for camera in info.video_cameras},
        task=tasks[0] if tasks else "",
        kind="failure" if success is False else "demonstration",
        success=success,
        segments=segments,
    )


def _without(episode: EpisodeInfo, cameras: list[str]) -> EpisodeInfo:
    return replace(episode, videos={name: span for name, span in episode.videos.items() if name not in cameras}) if cameras else episode


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with where it stands."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset is incomplete, or not of LeRobot v2")
    found = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{where} is not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{where} must hold a JSON object, got {type(row).__name__}")
        found.append((where, row))
    return found


def _integer(row: Mapping[str, Any], field: str, where: str) -> int:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise DatasetError(f"{where}: {field} is {value!r}, expected a whole number")
    return int(value)


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise DatasetError(f"{where}: {field} is {value!r}, expected a text")
    return value
