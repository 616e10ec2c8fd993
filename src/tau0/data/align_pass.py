"""The one pass over a dataset that aligns it, and what it leaves on disk: flat arrays and a summary, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pydantic
from numpy.typing import DTypeLike

from tau0.contract import ContractError
from tau0.data.align_episode import AlignedPiece, align_episode
from tau0.data.catalogue import EpisodeInfo
from tau0.data.description import SourceDescription
from tau0.data.episodes import Dataset
from tau0.data.flat_arrays import GrowingArray
from tau0.data.info import DatasetError
from tau0.data.layout import Layout
from tau0.data.parts import presence
from tau0.data.quarantine import Quarantined, check_quarantine
from tau0.data.segments import Segment
from tau0.data.source_statistics import Moments, SourceStatistics, measured_moments, measuring_codec
from tau0.data.video_extent import VideoExtents

FORMAT = 1
"""Counts up when what is written changes its meaning."""
SUMMARY = "summary.json"
STALE_S = 3600.0
"""A draft that nobody wrote to for so long is what a kill left."""


@dataclass(frozen=True)
class _Array:
    dtype: DTypeLike
    is_wide: bool = False


ARRAYS: Mapping[str, _Array] = MappingProxyType(
    {
        "state": _Array(np.float32, is_wide=True),
        "action": _Array(np.float32, is_wide=True),
        "advice": _Array(np.float32, is_wide=True),
        "progress": _Array(np.float32),
        "progress_mask": _Array(np.bool_),
        "frames": _Array(np.int64),
        "text": _Array(np.int64),
    }
)
"""One file each; one number, or the layout's numbers, to a row."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the pass found out besides the arrays. See `AlignedSource` for the meaning of each."""

    episodes: tuple[EpisodeInfo, ...]
    quarantined: tuple[Quarantined, ...]
    num_cuts: int
    texts: tuple[str, ...]
    statistics: SourceStatistics


def cache_key(dataset: Dataset, description: SourceDescription, layout: Layout, rate_hz: float, horizon: int) -> str:
    """16 hex digits that change with all that the result depends on: the contents of the tables, description, layout, rate, horizon."""
    digest = hashlib.sha256(f"{FORMAT} {rate_hz!r} {horizon} {layout!r}".encode())
    digest.update(_adapter().dump_json(description))
    for path in _tables(dataset):
        digest.update(f"\n{path.relative_to(dataset.root)} ".encode())
        digest.update(_content(path, has_pictures=any(feature.dtype == "image" for feature in dataset.features.values())))
    return digest.hexdigest()[:16]


def fill(
    folder: Path,
    dataset: Dataset,
    description: SourceDescription,
    layout: Layout,
    rate_hz: float,
    horizon: int,
    on_episode: Callable[[int, int], None],
) -> None:
    """Aligns every episode and writes the result as `folder`, which is there whole or not at all.

    Only one episode is in memory at a time. What a kill interrupted is removed and starts over.

    Raises:
        DatasetError: When too many episodes are bad, or the folder cannot be written.
    """
    total = len(dataset.episodes)
    with _written(folder) as draft:
        walk, videos = _Walk(dataset, description, layout, horizon), VideoExtents()
        with ExitStack() as stack:
            arrays = {name: stack.enter_context(_growing(draft, name, layout)) for name in _written_arrays(description)}
            for done, episode in enumerate(dataset.episodes, start=1):
                try:
                    videos.check(episode, description, dataset.fps)
                    pieces = align_episode(dataset, episode, description, layout, rate_hz)
                except (DatasetError, ContractError) as error:
                    walk.quarantined.append(Quarantined(episode=episode.index, reason=str(error)))
                    check_quarantine(dataset.root, walk.quarantined, total)
                else:
                    for piece in pieces:
                        walk.take(piece, arrays)
                on_episode(done, total)
        (draft / SUMMARY).write_text(json.dumps(walk.summary(np.load(draft / "frames.npy", mmap_mode="r"))), "utf-8")


def load_summary(folder: Path, dataset: Dataset) -> Summary:
    """What `fill` wrote beside the arrays.

    Raises:
        DatasetError: When it is damaged.
    """
    recorded = {episode.index: episode for episode in dataset.episodes}
    try:
        raw = json.loads((folder / SUMMARY).read_text("utf-8"))
        return Summary(
            episodes=tuple(_revived(entry, recorded) for entry in raw["episodes"]),
            quarantined=tuple(Quarantined(**entry) for entry in raw["quarantined"]),
            num_cuts=int(raw["num_cuts"]),
            texts=tuple(map(str, raw["texts"])),
            statistics=SourceStatistics.from_json(json.dumps(raw["statistics"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder / SUMMARY} is damaged ({error!r}): remove the folder {folder}, it is made again") from error


class _Walk:
    """What is gathered while the episodes pass by."""

    def __init__(self, dataset: Dataset, description: SourceDescription, layout: Layout, horizon: int) -> None:
        self.quarantined: list[Quarantined] = []
        self._dataset, self._horizon = dataset, horizon
        self._has_advice = bool(description.advice)
        self._present = presence(description.state, layout), presence(description.action, layout)
        self._codec = measuring_codec(layout)
        self._episodes: list[EpisodeInfo] = []
        self._texts: dict[str, int] = {}
        self._state, self._action = Moments.empty(layout.dim), Moments.empty(layout.dim)

    def take(self, piece: AlignedPiece, arrays: Mapping[str, GrowingArray]) -> None:
        """Writes one piece's rows and remembers the rest."""
        start = self._episodes[-1].stop if self._episodes else 0
        self._episodes.append(replace(piece.info, start=start))
        columns = {"progress_mask": piece.progress_known, "text": self._text(piece.tasks)}
        for name, array in arrays.items():
            array.append(columns[name] if name in columns else getattr(piece, name))
        has_state, has_action = self._present
        self._state = self._state.merged(Moments.of(piece.state, has_state))
        for actions in (piece.action, piece.advice)[: 1 + self._has_advice]:
            if has_action.any():
                self._action = self._action.merged(measured_moments(self._codec, piece.state, actions, self._horizon, has_action))

    def summary(self, frames: np.ndarray) -> dict[str, Any]:
        """The content of the summary's file; `frames` are those of all rows."""
        pieces: dict[int, list[EpisodeInfo]] = {}
        for episode in self._episodes:
            pieces.setdefault(episode.index, []).append(episode)
        return {
            "episodes": [_kept(_with_past(episode, pieces, frames)) for episode in self._episodes],
            "quarantined": [asdict(bad) for bad in self.quarantined],
            "num_cuts": len(self._episodes) - len(pieces),
            "texts": list(self._texts),
            "statistics": asdict(SourceStatistics(state=self._state, action=self._action)),
        }

    def _text(self, tasks: np.ndarray) -> np.ndarray:
        """Each row's place in the texts, in the order in which they first occur; nothing but blanks is nothing said."""
        known, where = np.unique(tasks, return_inverse=True)
        said = [text if (text := self._dataset.tasks[int(task)]).strip() else "" for task in known]
        return np.array([self._texts.setdefault(text, len(self._texts)) for text in said], np.int64)[where]


def _with_past(episode: EpisodeInfo, pieces: Mapping[int, list[EpisodeInfo]], frames: np.ndarray) -> EpisodeInfo:
    """A branch with the model's row at which it left its parent. Where the parent is not there, or not whole, it only has its own past."""
    if episode.parent < 0:
        return episode
    parents = pieces.get(episode.parent, [])
    if len(parents) != 1:
        return replace(episode, parent=-1, parent_frame=-1)
    away = np.abs(frames[parents[0].start : parents[0].stop] - episode.parent_frame)
    nearest = np.flatnonzero(away == away.min())  # several where the model is faster than the recording: the frame is in their middle
    return replace(episode, parent_frame=int(nearest[(len(nearest) - 1) // 2]))


_OWN = ("index", "start", "length", "kind", "success", "parent", "parent_frame", "remaining")


def _kept(episode: EpisodeInfo) -> dict[str, Any]:
    """What is not as the recording has it."""
    segments = [[segment.start, segment.stop, segment.text, segment.success] for segment in episode.segments]
    return {name: getattr(episode, name) for name in _OWN} | {"segments": segments}


def _revived(entry: Mapping[str, Any], recorded: Mapping[int, EpisodeInfo]) -> EpisodeInfo:
    segments = tuple(Segment(start=start, stop=stop, text=text, success=success) for start, stop, text, success in entry["segments"])
    return replace(recorded[entry["index"]], segments=segments, **{name: entry[name] for name in _OWN})


def _written_arrays(description: SourceDescription) -> tuple[str, ...]:
    """Advice that is the action is not written twice."""
    return tuple(name for name in ARRAYS if name != "advice" or description.advice)


def _growing(draft: Path, name: str, layout: Layout) -> GrowingArray:
    array = ARRAYS[name]
    return GrowingArray(draft / f"{name}.npy", array.dtype, (layout.dim,) if array.is_wide else ())


@contextmanager
def _written(folder: Path) -> Iterator[Path]:
    """A draft that becomes `folder` when the block ends well, synced to disk first; what the system refuses becomes a sentence.

    Several processes may be at it at once: the first one's folder stays, since somebody may be reading it.
    """
    draft = folder.with_name(f".{folder.name}.draft-{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        for path in draft.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        draft.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            why = os.strerror(error.errno) if error.errno else str(error)
            advice = "make room, or name another folder for what is worked out from the dataset"
            raise DatasetError(f"{folder.parent} cannot be written ({why}): {advice}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    """Removes drafts that a kill left, and that nobody has written to for long."""
    for draft in folder.parent.glob(f".{folder.name}.draft-*"):
        with suppress(OSError):
            if time.time() - max(path.stat().st_mtime for path in (draft, *draft.iterdir())) > STALE_S:
                shutil.rmtree(draft, ignore_errors=True)


def _tables(dataset: Dataset) -> list[Path]:
    """Every file that says something about rows or episodes, in a fixed order."""
    meta = [path for path in (dataset.root / "meta").rglob("*") if path.suffix in (".json", ".jsonl", ".parquet")]
    return sorted({*meta, *(episode.data_path for episode in dataset.episodes)})


def _content(path: Path, *, has_pictures: bool) -> bytes:
    """What stands for a file's content: a hash of it. Rows that hold pictures are too large for that: size and time of change then."""
    if not path.is_file():
        return b"missing"
    if has_pictures and path.suffix == ".parquet":
        return f"{path.stat().st_size} {path.stat().st_mtime_ns}".encode()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@cache
def _adapter() -> pydantic.TypeAdapter[SourceDescription]:
    return pydantic.TypeAdapter(SourceDescription)
