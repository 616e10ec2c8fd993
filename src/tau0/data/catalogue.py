"""The episodes of a dataset: where each one's rows and pictures are, and what it is good for (meta/episodes/**.parquet)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from tau0.data.info import DatasetError, Info, read_parquet
from tau0.data.schema import EpisodeMeta, Kind

KINDS: tuple[str, ...] = get_args(Kind)
EXPERT_BRANCH = "expert"

_REQUIRED = ("episode_index", "tasks", "length", "data/chunk_index", "data/file_index")
_VIDEO_FIELDS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
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
        videos: By camera feature name.
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


def read_catalogue(info: Info) -> tuple[EpisodeInfo, ...]:
    """Every episode of a dataset, in the order of its number.

    Raises:
        DatasetError: When meta/episodes is missing or incomplete, or an episode is of an unknown kind or branches
            off one that is not there.
    """
    files = sorted((info.root / "meta" / "episodes").glob("**/*.parquet"))
    if not files:
        raise DatasetError(f"{info.root / 'meta/episodes'} has no parquet file: the dataset lists no episodes")
    rows = sorted((row for path in files for row in _rows(path, info)), key=lambda row: row["episode_index"])
    if not rows:
        raise DatasetError(f"{info.root / 'meta/episodes'} lists no episodes: nothing was recorded")
    episodes, start = [], 0
    for row in rows:
        episodes.append(_episode(row, info, start))
        start += episodes[-1].length
    _check_numbers(episodes, info.root)
    return tuple(episodes)


def _rows(path: Path, info: Info) -> list[dict[str, Any]]:
    table = read_parquet(path, skip="stats/")
    wanted = [*_REQUIRED, *(f"videos/{camera}/{field}" for camera in info.cameras for field in _VIDEO_FIELDS)]
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise DatasetError(f"{path} lacks the columns {', '.join(missing)}, which LeRobot v3.0 requires")
    own = [f"tau0.{name}" for name in _OWN if f"tau0.{name}" in table.column_names]
    try:
        return table.select([*wanted, *own]).to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _episode(row: Mapping[str, Any], info: Info, start: int) -> EpisodeInfo:
    own = {name: row[f"tau0.{name}"] for name in _OWN if row.get(f"tau0.{name}") is not None}
    tasks = tuple(row["tasks"])
    place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
    return EpisodeInfo(
        index=row["episode_index"],
        length=row["length"],
        start=start,
        tasks=tasks,
        data_path=info.root / info.data_path.format(**place),
        videos={camera: _span(row, info, camera) for camera in info.cameras},
        **{"task": tasks[0] if tasks else "", **own},
    )


def _span(row: Mapping[str, Any], info: Info, camera: str) -> VideoSpan:
    chunk, file, begin, end = (row[f"videos/{camera}/{field}"] for field in _VIDEO_FIELDS)
    path = info.root / info.video_path.format(video_key=camera, chunk_index=chunk, file_index=file)
    return VideoSpan(path=path, from_s=begin, to_s=end)


def _check_numbers(episodes: list[EpisodeInfo], root: Path) -> None:
    """Numbers are unique, lengths positive, kinds known, and every branch has a parent that lasts long enough."""
    by_index = {episode.index: episode for episode in episodes}
    if len(by_index) != len(episodes):
        raise DatasetError(f"{root / 'meta/episodes'} lists {len(episodes)} episodes but only {len(by_index)} different numbers")
    for episode in episodes:
        where = f"{root / 'meta/episodes'}: episode {episode.index}"
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
