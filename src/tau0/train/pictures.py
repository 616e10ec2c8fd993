"""Pictures of any source as latents, by the roles of the model's cameras: encoded ahead of time, or at training time from video.

`CachedLatents` and `LatentsFromVideo` give the same latents for the same rows. With an `Augmentation`, the second changes every sample
anew each time it is seen; the first chooses among the variants that were encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float16
from torch import Tensor

from tau0.contract import Camera
from tau0.data.windows import Rows, WindowRows


class Latents(NamedTuple):
    """Latents and which of them exist. What does not exist is zero.

    Attributes:
        latents: In half precision.
        present: By view, row and latent frame.
    """

    latents: Float16[Tensor, "b v k f z h w"]
    present: Bool[Tensor, "b v k f"]


class PictureSource(Protocol):
    """The pictures of one source aligned to the model's rate.

    Attributes:
        cameras: Roles in the order of the canvas.
        frames_per_row: Latent frames `f` that `latents` gives for a row: the row's own still, and those of the window that begins there.
            It is 1 for an autoencoder that encodes frame by frame.
        unreadable: Why, by the dataset's number of an episode whose pictures could not be had so far.
    """

    @property
    def cameras(self) -> tuple[Camera, ...]: ...
    @property
    def unreadable(self) -> Mapping[int, str]: ...
    @property
    def frames_per_row(self) -> int: ...

    def latents(self, rows: Rows, samples: Rows | None = None, epoch: int = 0) -> Latents:
        """Stills and windows.

        Args:
            rows: Of the aligned source, shape (b, k).
            samples: The row by which each of the b samples is changed, shape (b,), where there is an augmentation; else not used.
            epoch: Another number changes samples otherwise.
        """
        ...

    def stills(self, rows: Rows, samples: Rows | None = None, epoch: int = 0) -> Latents:
        """The first latent frame of each row alone, f = 1. Arguments as `latents`."""
        ...


class WindowLatents(NamedTuple):
    """What a sample shows: memory, the current frame, the future.

    Attributes:
        latents: In half precision; what does not exist is zero.
        present: By view and latent frame. A future frame beyond the end of the episode is not there.
    """

    latents: Float16[Tensor, "b v z m1f h w"]
    present: Bool[Tensor, "b v m1f"]


def window_latents(pictures: PictureSource, at: WindowRows, epoch: int = 0) -> WindowLatents:
    """The latent frames `[memory, current, future]` of samples (SPEC.md sections 2 and 4), with either kind of autoencoder.

    Args:
        pictures: Of one source.
        at: Its samples. Where time is shrunk, the future is the window's own, and `at.future` is not looked at.
        epoch: See `PictureSource.latents`.
    """
    if pictures.frames_per_row == 1:
        rows = np.concatenate([at.memory, at.current[:, None], at.future], axis=1)
        latents, present = pictures.latents(rows, at.current, epoch)
        ahead = torch.from_numpy(np.pad(at.video_mask, ((0, 0), (at.memory.shape[1] + 1, 0)), constant_values=True))
        present = present[..., 0] & rearrange(ahead, "b n -> b 1 n")
        latents = latents[:, :, :, 0] * rearrange(present, "b v n -> b v n 1 1 1")
    else:
        windows, exists = pictures.latents(at.current[:, None], at.current, epoch)
        memory, remembered = pictures.stills(at.memory, at.current, epoch)
        latents = torch.cat([memory[:, :, :, 0], windows[:, :, 0]], dim=2)
        present = torch.cat([remembered[..., 0], exists[:, :, 0]], dim=2)
    return WindowLatents(latents=rearrange(latents, "b v n z h w -> b v z n h w"), present=present)
