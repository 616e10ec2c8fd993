"""What the pictures of a dataset are, in 16 digits, which change with any of their bytes or times, and not with labels or actions.

Files are hashed in full, once: size and time of change then say whether that has to be done again. Latents are worth that care: one
wrong file among thousands would be seen by nobody.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tau0.data.episodes import Dataset, DatasetError, EpisodeInfo
from tau0.data.info import open_parquet
from tau0.data.schema import IMAGE_PREFIX, TIMESTAMP

PIECE = 1 << 20


def pictures_identity(dataset: Dataset, cameras: Sequence[str], cache: Path) -> str:
    """First 16 hex digits of a hash over the files with these cameras' pictures, and which row shows which of them.

    Args:
        dataset: The recording.
        cameras: As it calls them, all of them its own.
        cache: Folder where hashes of files are kept, when it is there and can be written.

    Raises:
        DatasetError: When a file is missing or cannot be read.
    """
    digest = hashlib.sha256(f"{dataset.fps:g}".encode())
    names = sorted({IMAGE_PREFIX + camera if IMAGE_PREFIX + camera in dataset.features else camera for camera in cameras})
    videos = [name for name in names if dataset.features[name].dtype != "image"]
    for episode in dataset.episodes:
        where = [f"{name} {_relative(episode.videos[name].path, dataset)} {episode.videos[name].from_s!r}" for name in videos]
        digest.update(f"{episode.index} {episode.length} {_relative(episode.data_path, dataset)} {where}\n".encode())
    files = {episode.videos[name].path for episode in dataset.episodes for name in videos}
    tables = {episode.data_path for episode in dataset.episodes}
    columns = [TIMESTAMP, *(name for name in names if name not in videos)]
    for path, known in _hashes(files, tables, columns, dataset, cache):
        digest.update(f"{path} {known}\n".encode())
    return digest.hexdigest()[:16]


def notes_path(dataset: Dataset, cache: Path) -> Path:
    """Where hashes of a dataset's files are kept in a cache, which may serve several."""
    return cache / f"files-{hashlib.sha256(str(dataset.root.absolute()).encode()).hexdigest()[:12]}.json"


def rows_identity(frames: NDArray[np.int64], episodes: Sequence[EpisodeInfo]) -> str:
    """First 16 hex digits of a hash over which frames the rows of an aligned source show."""
    digest = hashlib.sha256(str([(episode.index, episode.start, episode.length) for episode in episodes]).encode())
    for start in range(0, len(frames), PIECE):
        digest.update(np.ascontiguousarray(frames[start : start + PIECE], np.int64).tobytes())
    return digest.hexdigest()[:16]


def _hashes(files: Iterable[Path], tables: Iterable[Path], columns: Sequence[str], dataset: Dataset, cache: Path) -> list[tuple[str, str]]:
    """Each file and its hash, in the order of their names; those that did not change since the last time are not read."""
    notes = notes_path(dataset, cache)
    stamps = _read_stamps(notes)
    found: dict[str, list[object]] = {}
    for path, what in [(path, "") for path in files] + [(path, " ".join(columns)) for path in tables]:
        if not path.is_file():
            raise DatasetError(f"{path} is missing: the dataset is incomplete")
        state = path.stat()
        key, stamp = f"{_relative(path, dataset)} {what}".strip(), [state.st_size, state.st_mtime_ns]
        known = stamps.get(key)
        if known is None or known[:2] != stamp:
            known = [*stamp, _columns_hash(path, columns) if what else _file_hash(path)]
        found[key] = known
    if any(stamps.get(key) != known for key, known in found.items()):
        _write_stamps(notes, stamps | found)
    return [(key, str(known[2])) for key, known in sorted(found.items())]


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns_hash(path: Path, columns: Sequence[str]) -> str:
    """Of the columns that decide what a row shows: labels may be mended without encoding pictures again."""
    digest = hashlib.sha256()
    with open_parquet(path) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=there, use_threads=False) if there else ():
            digest.update(str(batch.to_pylist()).encode())
    return digest.hexdigest()


def _relative(path: Path, dataset: Dataset) -> str:
    return path.relative_to(dataset.root).as_posix()


def _read_stamps(path: Path) -> dict[str, list[object]]:
    """What is known of files; nothing where the notes are missing or damaged."""
    try:
        read = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: known for key, known in read.items() if isinstance(known, list) and len(known) == 3} if isinstance(read, dict) else {}


def _write_stamps(path: Path, stamps: dict[str, list[object]]) -> None:
    """Keeps them where that is possible. Without, the next time takes longer."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        draft.write_text(json.dumps(stamps), "utf-8")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
