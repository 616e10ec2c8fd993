"""The episodes of a dataset: where each one's rows and pictures are, and what it is good for (v3.0: meta/episodes/**.parquet)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from tau0.data.findings import Finding
from tau0.data.info import DatasetError, Info, read_parquet, read_tasks
from tau0.data.schema import EpisodeMeta, Kind
from tau0.data.segments import Segment, listed_columns

KINDS: tuple[str, ...] = get_args(Kind)
EXPERT_BRANCH = "expert"

_REQUIRED = ("episode_index", "tasks", "length", "data/chunk_index", "data/file_index")
_VIDEO_FIELDS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
_SEGMENTS = ("sparse_subtask_names", "sparse_subtask_start_frames", "sparse_subtask_end_frames")
_OWN = tuple(field.name for field in fields(EpisodeMeta) if field.name != "instruction")


@dataclass(frozen=True, kw_only=True)
class VideoSpan:
    """Where an episode's pictures of one camera are: seconds [from_s, to_s) of the file at `path`."""

    path: Path
    from_s: float
    to_s: float


@dataclass(frozen=True, kw_only=True)
class EpisodeInfo:
    """One episode, without its contents.

    Attributes:
        index: The dataset's own number of the episode.
        length: Rows, which is also frames.
        start: Its first global row, counting the rows of all episodes in the order in which the dataset lists them.
        tasks: The instructions given.
        data_path: The parquet file with its rows.
        videos: By feature name, of the cameras whose pictures are in video files.
        task: The task's own name, such as "reach-v3"; the instruction where the dataset has no such column.
        kind: What happened: "demonstration", "failure" or "branch". Foreign datasets are taken for demonstrations.
        success: Whether the task was solved; None where unknown.
        seed: Of the initial state, -1 where unknown.
        behaviour: What acted, in words of the collector.
        branch: Which alternative a branch executed, "expert" being the right one; "" for the other kinds.
        group: Branches with the same number >= 0 start from one physical state; -1 for the other kinds.
        parent: `index` of the episode a branch left, -1 for none.
        parent_frame: The frame of `parent` that a branch's frame 0 repeats, -1 for none.
        remaining: Steps that the expert still needed after a branch's last frame, 0 when solved there; -1 unknown or never.
        segments: Its subtasks, where the list of episodes names them.
    """

    index: int
    length: int
    start: int
    tasks: tuple[str, ...]
    data_path: Path
    videos: Mapping[str, VideoSpan]
    task: str
    kind: Kind = "demonstration"
    success: bool | None = None
    seed: int = -1
    behaviour: str = ""
    branch: str = ""
    group: int = -1
    parent: int = -1
    parent_frame: int = -1
    remaining: int = -1
    segments: tuple[Segment, ...] = ()

    @property
    def stop(self) -> int:
        """The global row after its last."""
        return self.start + self.length

    @property
    def instruction(self) -> str:
        """The first instruction, "" where nothing was said."""
        return self.tasks[0] if self.tasks else ""

    @property
    def teaches_policy(self) -> bool:
        """Whether the policy may imitate it: demonstrations and expert branches, never failures or wrong branches (SPEC.md section 7)."""
        return self.kind == "demonstration" or (self.kind == "branch" and self.branch == EXPERT_BRANCH)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a dataset says it contains.

    Attributes:
        info: As in meta/info.json, without cameras of which there is nothing.
        tasks: Instruction by `task_index`.
        episodes: In the order of their numbers.
        quirks: What had to be set right to read it.
    """

    info: Info
    tasks: Mapping[int, str]
    episodes: tuple[EpisodeInfo, ...]
    quirks: tuple[Finding, ...]


def read_v3(info: Info) -> Contents:
    """What a dataset of v3.0 contains.

    Raises:
        DatasetError: When meta/tasks.parquet or meta/episodes is missing or incomplete, or an episode is of an unknown kind or branches
            off one that is not there.
    """
    folder = info.root / "meta" / "episodes"
    files = sorted(folder.glob("**/*.parquet"))
    if not files:
        raise DatasetError(f"{folder} has no parquet file: the dataset lists no episodes")
    tables = [read_parquet(path, skip="stats/") for path in files]
    absent = [name for name in info.video_cameras if _is_absent(name, info, tables)]
    info = replace(info, features={name: feature for name, feature in info.features.items() if name not in absent})
    rows = [row for path, table in zip(files, tables, strict=True) for row in _rows(path, table, info)]
    if not rows:
        raise DatasetError(f"{folder} lists no episodes: nothing was recorded")
    episodes: list[EpisodeInfo] = []
    for row in sorted(rows, key=lambda row: row["episode_index"]):
        episodes.append(_episode(row, info, episodes[-1].stop if episodes else 0))
    check_numbers(episodes, folder)
    quirks = (*total_quirks(info, episodes), *absent_quirks(info.root, absent))
    return Contents(info=info, tasks=read_tasks(info.root), episodes=tuple(episodes), quirks=quirks)


def total_quirks(info: Info, episodes: Sequence[EpisodeInfo]) -> tuple[Finding, ...]:
    """Where info.json counts otherwise than the list of episodes, and where that does not number them from 0."""
    listed = {"total_episodes": len(episodes), "total_frames": sum(episode.length for episode in episodes)}
    if info.has_file_per_episode:
        listed["total_videos"] = sum(len(episode.videos) for episode in episodes)
    found = [
        Finding(
            severity="warning",
            check="totals",
            where="meta/info.json",
            what=f"{name} is {info.totals[name]}, the list of episodes makes it {count}",
            advice="the list of episodes is believed; correct the total",
        )
        for name, count in listed.items()
        if info.totals.get(name, count) != count
    ]
    if (episodes[0].index, episodes[-1].index) != (0, len(episodes) - 1):
        what = f"the {len(episodes)} episodes are numbered from {episodes[0].index} to {episodes[-1].index}"
        advice = "they keep their numbers; nothing to do"
        found.append(Finding(severity="note", check="numbering", where="meta", what=what, advice=advice))
    return tuple(found)


def absent_quirks(root: Path, cameras: Sequence[str]) -> tuple[Finding, ...]:
    """Cameras that info.json declares and nobody recorded."""
    return tuple(
        Finding(
            severity="warning",
            check="declared cameras",
            where="meta/info.json",
            what=f"declares the camera {camera!r}, of which {root / 'videos'} has no file",
            advice="it is left out; remove the feature, or complete the download",
        )
        for camera in cameras
    )


def _is_absent(camera: str, info: Info, tables: Sequence[pa.Table]) -> bool:
    """Whether no episode mentions the camera, and there is no file of it either."""
    mentioned = any(f"videos/{camera}/{_VIDEO_FIELDS[0]}" in table.column_names for table in tables)
    return not mentioned and not any((info.root / "videos" / camera).glob("**/*.mp4"))


def _rows(path: Path, table: pa.Table, info: Info) -> list[dict[str, Any]]:
    wanted = [*_REQUIRED, *(f"videos/{camera}/{field}" for camera in info.video_cameras for field in _VIDEO_FIELDS)]
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise DatasetError(f"{path} lacks the columns {', '.join(missing)}, which LeRobot v3.0 requires")
    optional = [name for name in (*(f"tau0.{name}" for name in _OWN), *_SEGMENTS) if name in table.column_names]
    try:
        return table.select([*wanted, *optional]).to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _episode(row: Mapping[str, Any], info: Info, start: int) -> EpisodeInfo:
    annotated = [row[name] for name in _SEGMENTS if row.get(name) is not None]
    try:
        segments = listed_columns(*annotated) if len(annotated) == len(_SEGMENTS) else ()
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{info.root / 'meta/episodes'}: episode {row['episode_index']} has a garbled {_SEGMENTS[0]}: {error}"
        ) from error
    own = {name: row[f"tau0.{name}"] for name in _OWN if row.get(f"tau0.{name}") is not None}
    tasks = tuple(row["tasks"])
    return EpisodeInfo(
        index=row["episode_index"],
        length=row["length"],
        start=start,
        tasks=tasks,
        data_path=info.path("data_path", chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]),
        videos={camera: _span(row, info, camera) for camera in info.video_cameras},
        segments=segments,
        **{"task": tasks[0] if tasks else "", **own},
    )


def _span(row: Mapping[str, Any], info: Info, camera: str) -> VideoSpan:
    chunk, file, begin, end = (row[f"videos/{camera}/{field}"] for field in _VIDEO_FIELDS)
    path = info.path("video_path", video_key=camera, chunk_index=chunk, file_index=file)
    return VideoSpan(path=path, from_s=begin, to_s=end)


def check_numbers(episodes: Sequence[EpisodeInfo], listed_in: Path) -> None:
    """Numbers are unique, lengths positive, kinds known, and every branch has a parent that lasts long enough.

    Raises:
        DatasetError: Otherwise, naming `listed_in` and the episode.
    """
    by_index = {episode.index: episode for episode in episodes}
    if len(by_index) != len(episodes):
        raise DatasetError(f"{listed_in} lists {len(episodes)} episodes but only {len(by_index)} different numbers")
    for episode in episodes:
        where = f"{listed_in}: episode {episode.index}"
        if episode.length < 1:
            raise DatasetError(f"{where} has length {episode.length}, expected at least 1")
        if episode.kind not in KINDS:
            raise DatasetError(f"{where} has tau0.kind {episode.kind!r}, expected one of {', '.join(KINDS)}")
        if episode.parent < 0:
            continue
        parent = by_index.get(episode.parent)
        if parent is None or parent.parent >= 0:
            raise DatasetError(
                f"{where} branches off episode {episode.parent}, which is {'a branch itself' if parent else 'not in the dataset'}"
            )
        if not 0 <= episode.parent_frame < parent.length:
            raise DatasetError(
                f"{where} branches off frame {episode.parent_frame} of episode {parent.index}, which has {parent.length} frames"
            )
