"""Encoding one shard: pictures to an array on disk, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.torch

from tau0.contract import Camera
from tau0.data.episodes import Dataset
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.encoders import AnyAutoencoder
from tau0.model.wan_vae import WanAutoencoderConfig, load_wan_autoencoder
from tau0.train.augmentation import Augmentation, Draw
from tau0.train.clip_encoder import ClipEncoder, Unreadable
from tau0.train.disk import sync
from tau0.train.latent_store import LatentStore, ShardTask, note_path
from tau0.train.picture_encoder import PictureEncoder
from tau0.train.picture_reader import PictureReader


@dataclass(frozen=True, kw_only=True)
class OwnAutoencoder:
    """Our own autoencoder as it is handed to a process: its shape, and its weights as safetensors.

    Tensors themselves would travel through shared memory, of which a container may have next to none.
    """

    config: AutoencoderConfig
    weights: bytes

    @classmethod
    def of(cls, autoencoder: Autoencoder) -> OwnAutoencoder:
        """The same network."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in autoencoder.state_dict().items()}
        return cls(config=autoencoder.config, weights=safetensors.torch.save(tensors))

    def load(self) -> AnyAutoencoder:
        """The network."""
        autoencoder = Autoencoder(self.config)
        autoencoder.load_state_dict(safetensors.torch.load(self.weights))
        return autoencoder


@dataclass(frozen=True, kw_only=True)
class PublishedAutoencoder:
    """The published autoencoder in a folder, which every process reads by itself."""

    config: WanAutoencoderConfig
    folder: Path

    def load(self) -> AnyAutoencoder:
        """The network. Raises `EncoderFolderError` when the folder holds another one by now."""
        return load_wan_autoencoder(self.folder, self.config)


@dataclass(frozen=True, kw_only=True)
class EncodeJob:
    """What a worker has to know about a source, once.

    Attributes:
        root: Folder of the dataset.
        cameras: The dataset's camera by view.
        canvas: Every view, with its size.
        shape: Of what is stored for a row and a camera.
        autoencoder: Which, and where it comes from.
        augmentation: What variants are changed by.
        device: Where it encodes, as torch says it.
    """

    root: Path
    cameras: Mapping[int, str]
    canvas: tuple[Camera, ...]
    shape: tuple[int, ...]
    autoencoder: OwnAutoencoder | PublishedAutoencoder
    augmentation: Augmentation | None = None
    device: str = "cpu"

    @classmethod
    def of(
        cls,
        store: LatentStore,
        autoencoder: OwnAutoencoder | PublishedAutoencoder,
        augmentation: Augmentation | None = None,
        device: str = "cpu",
    ) -> EncodeJob:
        """The job of filling a store."""
        root = store.recording.dataset.root.absolute()
        return cls(
            root=root,
            cameras=store.cameras,
            canvas=store.spec.cameras,
            shape=store.shape,
            autoencoder=autoencoder,
            augmentation=augmentation,
            device=device,
        )


@dataclass(frozen=True, kw_only=True)
class ShardDone:
    """A shard that is on disk.

    Attributes:
        rows: Encoded.
        pictures: Decoded and encoded in all cameras, counting a picture once for every clip.
        unreadable: Number of episode, view, and reason, of what could not be read: zero in the array.
    """

    rows: int
    pictures: int
    unreadable: tuple[tuple[int, int, str], ...]


class ShardWorker:
    """Encodes shards of one source, one after another. Loads the autoencoder at the first."""

    def __init__(self, job: EncodeJob) -> None:
        self._job = job

    def encode(self, task: ShardTask) -> ShardDone:
        """Writes the shard's array, and before it the note about it.

        Raises:
            OSError: When there is no room, or the folder may not be written. Nothing of the shard is left.
            Exception: What loading the autoencoder and `Dataset.open` raise.
        """
        draft = task.path.with_name(f"{task.path.name}.{os.getpid()}.draft")
        views = {view: place for place, view in enumerate(self._job.cameras)}
        task.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            array = _reserved(draft, (len(task.clips), len(views), *self._job.shape))
            unreadable: dict[tuple[int, int], str] = {}
            for part in self._encoder.encode(task.clips, self._draws(task)):
                if isinstance(part, Unreadable):
                    unreadable.setdefault((part.episode, part.view), part.reason)
                else:
                    array[part.clips, views[part.view]] = part.latents
            array.flush()
            done = ShardDone(
                rows=len(task.clips),
                pictures=task.clips.frames.size * len(views),
                unreadable=tuple((episode, view, reason) for (episode, view), reason in sorted(unreadable.items())),
            )
            _note(done, task.path)
            sync(draft)
            draft.replace(task.path)
            sync(task.path.parent)
        finally:
            draft.unlink(missing_ok=True)
        return done

    @cached_property
    def _encoder(self) -> ClipEncoder:
        encoder = PictureEncoder(self._job.autoencoder.load(), self._job.device)
        return ClipEncoder(PictureReader(Dataset.open(self._job.root)), encoder, self._job.cameras, self._job.canvas)

    def _draws(self, task: ShardTask) -> list[Draw] | None:
        if task.variant == 0 or self._job.augmentation is None:
            return None
        return [self._job.augmentation.draw(sample, task.variant, len(self._job.canvas)) for sample in task.samples]


def _reserved(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array of zeros with its room on the disk: a full disk is an error here, but kills who writes to a mapped page later."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def clear_drafts(task: ShardTask) -> None:
    """Removes what workers that are gone left of a shard. Nobody else may be at it."""
    for draft in task.path.parent.glob(f"{task.path.stem}.*.draft"):
        draft.unlink(missing_ok=True)


def _note(done: ShardDone, path: Path) -> None:
    """Writes a shard's note in one step."""
    draft = note_path(path).with_name(f"{note_path(path).name}.{os.getpid()}.draft")
    try:
        draft.write_text(json.dumps({"rows": done.rows, "unreadable": done.unreadable}) + "\n")
        draft.replace(note_path(path))
    finally:
        draft.unlink(missing_ok=True)
