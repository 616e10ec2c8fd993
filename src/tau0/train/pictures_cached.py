"""Latents that were encoded ahead of time, memory-mapped: what is not asked for is not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from tau0.contract import Camera
from tau0.data.episodes import DatasetError
from tau0.data.windows import Rows
from tau0.train.augmentation import Augmentation
from tau0.train.clips import ClipFinder, PictureSpec, Recording
from tau0.train.latent_store import LatentStore, Shard, read_note, shard_path
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.pictures import Latents


class MissingLatentsError(DatasetError):
    """Latents that are not there, or not all of them. The message says what to run."""


class CachedLatents:
    """A `PictureSource` that reads what `tau0 encode` wrote. With variants, a sample takes another one each time.

    Attributes:
        cameras: Roles in the order of the canvas.
        frames_per_row: See `PictureSource`.
        unreadable: Why, by the dataset's number of an episode whose pictures could not be had. Their latents are zero and not present.
    """

    def __init__(
        self,
        recording: Recording,
        spec: PictureSpec,
        facts: EncoderFacts,
        cache: Path | None = None,
        augmentation: Augmentation | None = None,
        num_variants: int = 1,
    ) -> None:
        """Opens every array.

        Args:
            recording: The aligned source.
            spec: Which pictures.
            facts: Of the autoencoder, which itself is not needed.
            cache: Folder for latents of any source; beside the dataset unless given.
            augmentation: What the variants were changed by.
            num_variants: How many there are, with the plain one.

        Raises:
            ContractError: When the cameras differ in size, or do not fit the autoencoder.
            DatasetError: When the description's cameras are not the dataset's, or none is wanted.
            MissingLatentsError: When something is not encoded yet, or the pictures have changed since.
            ValueError: When variants are asked for without an augmentation.
        """
        store = LatentStore(recording, spec, facts, cache)
        if (absent := store.num_missing(augmentation, num_variants)[0]) > 0:
            total = len(store.shards) * num_variants
            where = f"{absent} of {total} shards of latents are not in {store.folder}"
            raise MissingLatentsError(f"{recording.dataset.root}: {where}; encode them: tau0 encode --help")
        self.cameras: tuple[Camera, ...] = spec.cameras
        self.frames_per_row = store.shape[0]
        self.unreadable: dict[int, str] = {}
        self._views, self._shape = np.array(list(store.cameras), np.int64), store.shape
        self._augmentation, self._num_variants = augmentation, num_variants
        self._finder, self._is_per_frame = ClipFinder(recording, spec, facts.stride[0]), facts.is_per_frame
        self._episode_start = np.array([episode.start for episode in recording.dataset.episodes], np.int64)
        self._shard_start = np.array([shard.start for shard in store.shards], np.int64)
        folders = store.variant_folders(augmentation, num_variants)
        self._arrays = [[_opened(store, shard, folder) for shard in store.shards] for folder in folders]
        self._readable = np.ones((len(recording.dataset.episodes), len(spec.cameras)), bool)
        self._read_notes(recording, [shard_path(folders[0], shard) for shard in store.shards])

    def latents(self, rows: Rows, samples: Rows | None = None, epoch: int = 0) -> Latents:
        """See `PictureSource.latents`."""
        return self._latents(rows, self.frames_per_row, samples, epoch)

    def stills(self, rows: Rows, samples: Rows | None = None, epoch: int = 0) -> Latents:
        """See `PictureSource.stills`."""
        return self._latents(rows, 1, samples, epoch)

    def _latents(self, rows: Rows, num_frames: int, samples: Rows | None, epoch: int) -> Latents:
        flat, (b, k) = rows.reshape(-1), rows.shape
        clips, exists = self._finder.stills(flat) if num_frames == 1 else self._finder.windows(flat)
        stored = self._episode_start[clips.episode] + clips.frames[:, 0] if self._is_per_frame else flat
        variant = np.repeat(self._variants(rows[:, 0] if samples is None else samples, epoch), k)
        present = np.zeros((len(flat), len(self.cameras), num_frames), bool)
        present[:, self._views] = self._readable[clips.episode][:, self._views, None] & exists[:, None]
        found = np.zeros((len(flat), len(self.cameras), num_frames, *self._shape[1:]), np.float16)
        shard = np.searchsorted(self._shard_start, stored, side="right") - 1
        address = variant * len(self._shard_start) + shard
        order = np.argsort(address, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(address[order])) + 1):
            array = self._arrays[variant[some[0]]][shard[some[0]]]
            found[some[:, None], self._views] = array[stored[some] - self._shard_start[shard[some[0]]], :, :num_frames]
        if not present[:, self._views].all():
            found *= present[..., None, None, None]
        return Latents(
            latents=rearrange(torch.from_numpy(found), "(b k) v f z h w -> b v k f z h w", b=b),
            present=rearrange(torch.from_numpy(present), "(b k) v f -> b v k f", b=b),
        )

    def _variants(self, samples: Rows, epoch: int) -> NDArray[np.int64]:
        if self._augmentation is None or self._num_variants == 1:
            return np.zeros(len(samples), np.int64)
        return np.array([self._augmentation.variant(int(sample), epoch, self._num_variants) for sample in samples], np.int64)

    def _read_notes(self, recording: Recording, paths: list[Path]) -> None:
        place = {episode.index: i for i, episode in enumerate(recording.dataset.episodes)}
        for path in paths:
            for episode, view, reason in read_note(path):
                self.unreadable.setdefault(episode, reason)
                self._readable[place[episode], view] = False


def _opened(store: LatentStore, shard: Shard, folder: Path) -> NDArray[np.float16]:
    path, wanted = shard_path(folder, shard), (shard.stop - shard.start, len(store.cameras), *store.shape)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DatasetError(f"{path} is damaged ({error}): remove it, and encode again") from error
    if (array.shape, array.dtype) != (wanted, np.float16):
        raise DatasetError(f"{path} holds {array.dtype} {array.shape}, expected float16 {wanted}: remove it, and encode again")
    return array
