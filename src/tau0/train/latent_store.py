"""Where latents lie on disk: one folder for a source, its cameras and an encoder; in it one array a shard, whole or not there.

A shard is some episodes. With our own autoencoder it holds every frame of the recording, so that any rate of the model can use it; with
the published one the window that begins at every row, whose first latent frame is that row's still. Changed copies (variants) lie beside
the plain ones: the model's pictures can be jittered and cropped without decoding them again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tau0.data.catalogue import EpisodeInfo
from tau0.data.episodes import DatasetError
from tau0.train.augmentation import Augmentation
from tau0.train.clips import ClipFinder, Clips, PictureSpec, Recording, present_cameras
from tau0.train.content import pictures_identity, rows_identity
from tau0.train.picture_encoder import EncoderFacts

FOLDER, PLAIN, ABOUT = ".latents", "plain", "about.json"
FORMAT = 2
SHARD_ROWS, MAX_SHARDS = 250, 4000
"""Rows of a shard, at least, since episodes are not divided: what a killed worker costs. Large datasets have larger shards, not more."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Rows [start, stop) of the store."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to encode, complete in itself.

    Attributes:
        path: Of the array.
        clips: What its rows are.
        samples: By which number each clip is changed, shape (n,).
        variant: 0 for unchanged pictures.
    """

    path: Path
    clips: Clips
    samples: tuple[int, ...]
    variant: int


def default_cache(recording: Recording) -> Path:
    """Beside the dataset, where nothing else is said."""
    return recording.dataset.root / FOLDER


class LatentStore:
    """Which latents a source has to have, and where.

    Attributes:
        recording: The source.
        spec: Which pictures.
        facts: Of the autoencoder.
        cameras: The dataset's camera by view: what of the canvas the dataset has.
        folder: Of these latents, named by what they are made of.
        episodes: Whose rows the store counts: those of the recording, or those of the aligned source.
        shards: In order.
        shape: Of what is stored for a row and a camera: latent frames, channels, rows, columns.
    """

    def __init__(self, recording: Recording, spec: PictureSpec, facts: EncoderFacts, cache: Path | None = None) -> None:
        """Finds out what the pictures are, which reads files that were not hashed before. Writes nothing but their hashes.

        Args:
            recording: The aligned source.
            spec: Which pictures.
            facts: Of the autoencoder.
            cache: Folder for latents of any source; beside the dataset unless given.

        Raises:
            ContractError: When the cameras differ in size, or do not fit the autoencoder.
            DatasetError: When a file is missing, the description's cameras are not the dataset's, or none is wanted.
        """
        self.recording, self.spec, self.facts = recording, spec, facts
        self.cameras = present_cameras(recording, spec)
        self.shape = (1 if facts.is_per_frame else 1 + spec.num_future, *facts.latent_shape(spec.cameras))
        self.episodes: tuple[EpisodeInfo, ...] = tuple(recording.dataset.episodes if facts.is_per_frame else recording.episodes)
        self.shards = _shards(self.episodes)
        cache = default_cache(recording) if cache is None else cache
        self._about = self._described(cache)
        digest = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = cache / f"{recording.dataset.root.absolute().name}-{digest}"

    def missing(self, augmentation: Augmentation | None = None, num_variants: int = 1) -> Iterator[ShardTask]:
        """What is not encoded yet, plain pictures first. Variants beyond the first need an augmentation."""
        finder = ClipFinder(self.recording, self.spec, self.facts.stride[0])
        for variant, folder in enumerate(self.variant_folders(augmentation, num_variants)):
            for shard in self.shards:
                path = shard_path(folder, shard)
                if not path.is_file():
                    clips = self._clips(shard, finder)
                    yield ShardTask(path=path, clips=clips, samples=self._samples(clips), variant=variant)

    def num_missing(self, augmentation: Augmentation | None = None, num_variants: int = 1) -> tuple[int, int]:
        """How many shards are not encoded yet, and how many rows these have."""
        folders = self.variant_folders(augmentation, num_variants)
        absent = [shard for folder in folders for shard in self.shards if not shard_path(folder, shard).is_file()]
        return len(absent), sum(shard.stop - shard.start for shard in absent)

    def num_bytes(self, num_rows: int) -> int:
        """Disk space of so many rows."""
        return 2 * num_rows * len(self.cameras) * int(np.prod(self.shape))

    def variant_folders(self, augmentation: Augmentation | None, num_variants: int) -> list[Path]:
        """Of the plain latents and of the changed ones. Raises `ValueError` when there is nothing to change them by."""
        if num_variants < 1 or (num_variants > 1 and augmentation is None):
            raise ValueError(f"{num_variants} variants without an augmentation: expected 1, or an augmentation")
        return [self.folder / (PLAIN if i == 0 or augmentation is None else f"{augmentation.identity}-{i}") for i in range(num_variants)]

    def create(self) -> None:
        """Makes the folder, with a note of what is in it. Raises `OSError` where that cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{ABOUT}.{os.getpid()}.draft"
        draft.write_text(json.dumps(self._about, indent=1, sort_keys=True) + "\n")
        draft.replace(self.folder / ABOUT)

    def _described(self, cache: Path) -> dict[str, object]:
        recording, canvas = self.recording, self.spec.cameras
        views = [[name, canvas[view].height, canvas[view].width] for view, name in self.cameras.items()]
        about: dict[str, object] = {
            "format": FORMAT,
            "pictures": pictures_identity(recording.dataset, list(self.cameras.values()), cache),
            "encoder": self.facts.identity,
            "cameras": views,
            "rows_in_shard": _rows_in_shard(self.episodes),
        }
        if not self.facts.is_per_frame:
            about["windows"] = [self.spec.num_future, self.spec.frame_stride, rows_identity(recording.frames, recording.episodes)]
        return about

    def _clips(self, shard: Shard, finder: ClipFinder) -> Clips:
        rows = np.arange(shard.start, shard.stop)
        if not self.facts.is_per_frame:
            return finder.windows(rows)[0]
        starts = np.array([episode.start for episode in self.episodes])
        episode = np.searchsorted(starts, rows, side="right") - 1
        return Clips(episode=episode, frames=(rows - starts[episode])[:, None])

    def _samples(self, clips: Clips) -> tuple[int, ...]:
        """A whole episode is changed alike, and a branch like its parent, which it remembers."""
        episodes = self.recording.dataset.episodes
        return tuple(episodes[i].index if episodes[i].parent < 0 else episodes[i].parent for i in clips.episode)


def shard_path(folder: Path, shard: Shard) -> Path:
    """Of the shard's array; beside it lies a note about it, written before."""
    return folder / f"shard-{shard.number:06d}.npy"


def note_path(path: Path) -> Path:
    """Of the note about a shard's array."""
    return path.with_suffix(".json")


def read_note(path: Path) -> list[tuple[int, int, str]]:
    """What of a shard could not be read: number of the episode, view, reason. Raises `DatasetError` for a damaged note."""
    try:
        listed = json.loads(note_path(path).read_text("utf-8"))["unreadable"]
        return [(int(episode), int(view), str(reason)) for episode, view, reason in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{note_path(path)} is damaged ({error}): remove {path}, and encode again") from error


def _rows_in_shard(episodes: Sequence[EpisodeInfo]) -> int:
    return max(SHARD_ROWS, episodes[-1].stop // MAX_SHARDS)


def _shards(episodes: Sequence[EpisodeInfo]) -> tuple[Shard, ...]:
    """Consecutive episodes, as many as it takes to have enough rows."""
    shards: list[Shard] = []
    start, enough = 0, _rows_in_shard(episodes)
    for episode in episodes:
        if episode.stop - start >= enough or episode is episodes[-1]:
            shards.append(Shard(number=len(shards), start=start, stop=episode.stop))
            start = episode.stop
    return tuple(shards)
