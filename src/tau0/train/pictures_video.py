"""Latents at training time: the frames that a batch needs are decoded, changed if wanted, and encoded. Nothing is kept on disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool
from numpy.typing import NDArray

from tau0.contract import Camera
from tau0.data.windows import Rows
from tau0.train.augmentation import Augmentation, Draw
from tau0.train.clip_encoder import ClipEncoder, Unreadable
from tau0.train.clips import ClipFinder, Clips, PictureSpec, Recording, present_cameras
from tau0.train.picture_encoder import PictureEncoder
from tau0.train.picture_reader import MAX_OPEN, PictureReader
from tau0.train.pictures import Latents


class LatentsFromVideo:
    """A `PictureSource` that decodes. The slow, plain twin of `CachedLatents`; the only one that changes every sample anew.

    Attributes:
        cameras: Roles in the order of the canvas.
        frames_per_row: See `PictureSource`.
        unreadable: Why, by the dataset's number of an episode whose pictures could not be had. Then what was asked of it together is zero
            and not present, be it readable or not: a function of the rows asked for, as everything here.
    """

    def __init__(
        self,
        recording: Recording,
        spec: PictureSpec,
        encoder: PictureEncoder,
        augmentation: Augmentation | None = None,
        max_open: int = MAX_OPEN,
    ) -> None:
        """Opens nothing yet.

        Args:
            recording: The aligned source.
            spec: Which pictures.
            encoder: Of them.
            augmentation: How samples are changed.
            max_open: Video files kept open.

        Raises:
            ContractError: When the cameras differ in size, or do not fit the autoencoder.
            DatasetError: When the description's cameras are not the dataset's, or none is wanted.
        """
        self.cameras: tuple[Camera, ...] = spec.cameras
        self.frames_per_row = 1 if encoder.facts.is_per_frame else 1 + spec.num_future
        self.unreadable: dict[int, str] = {}
        self._augmentation = augmentation
        self._finder = ClipFinder(recording, spec, encoder.facts.stride[0])
        cameras = present_cameras(recording, spec)
        self._clips = ClipEncoder(PictureReader(recording.dataset, max_open), encoder, cameras, spec.cameras)
        self._shape = encoder.facts.latent_shape(spec.cameras)

    def latents(self, rows: Rows, samples: Rows | None = None, epoch: int = 0) -> Latents:
        """See `PictureSource.latents`."""
        if self.frames_per_row == 1:
            return self.stills(rows, samples, epoch)
        return self._latents(rows, *self._finder.windows(rows.reshape(-1)), samples, epoch)

    def stills(self, rows: Rows, samples: Rows | None = None, epoch: int = 0) -> Latents:
        """See `PictureSource.stills`."""
        return self._latents(rows, *self._finder.stills(rows.reshape(-1)), samples, epoch)

    def _latents(self, rows: Rows, clips: Clips, exists: Bool[np.ndarray, "n f"], samples: Rows | None, epoch: int) -> Latents:
        b, k = rows.shape
        draws = self._draws(rows[:, 0] if samples is None else samples, epoch)
        wanted, of_clip, sample = _distinct(clips, None if draws is None else np.repeat(np.arange(b), k))
        mine = None if draws is None else [draws[i] for i in sample]
        latents = np.zeros((len(self.cameras), len(wanted), exists.shape[1], *self._shape), np.float16)
        there = np.zeros((len(self.cameras), len(wanted)), bool)
        for part in self._clips.encode(wanted, mine):
            if isinstance(part, Unreadable):
                self.unreadable.setdefault(part.episode, part.reason)
                continue
            latents[part.view, part.clips] = part.latents
            there[part.view, part.clips] = True
        present = there[:, of_clip, None] & exists
        found = latents[:, of_clip] * present[..., None, None, None]
        return Latents(
            latents=rearrange(torch.from_numpy(found), "v (b k) f z h w -> b v k f z h w", b=b),
            present=rearrange(torch.from_numpy(present), "v (b k) f -> b v k f", b=b),
        )

    def _draws(self, samples: Rows, epoch: int) -> Sequence[Draw] | None:
        if self._augmentation is None:
            return None
        return [self._augmentation.draw(int(sample), epoch, len(self.cameras)) for sample in samples]


def _distinct(clips: Clips, sample: NDArray[np.int64] | None) -> tuple[Clips, NDArray[np.int64], NDArray[np.int64]]:
    """Each clip once, which of these each clip is, and the sample of each; clips of different samples are different where those count."""
    of_sample = np.zeros(len(clips), np.int64) if sample is None else sample
    key = np.column_stack([of_sample, clips.episode, clips.frames])
    _, first, of_clip = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return clips[first], of_clip.reshape(-1), of_sample[first]
