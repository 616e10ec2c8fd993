"""Imagined futures as pictures, against what the cameras really saw: per view and per horizon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.contract import Pixels
from tau0.data.windows import Rows
from tau0.encode import latents_to_frames
from tau0.evaluate.simulator_distance import PERCEPTUAL, PerceptualDistance, psnr, ssim
from tau0.evaluate.simulator_intervals import mean_interval
from tau0.evaluate.simulator_results import HorizonCard, PictureCard
from tau0.views import pixels_to_tensor

Values = NDArray[np.float64]

MEASURES = ("psnr_db", "ssim", "perceptual")
PICTURES = ("imagined", "copied", "kept", "encoded")


class Recorded(Protocol):
    """What a recording itself shows and measures (`tau0.train.recorded.RecordedTruth`)."""

    def pictures(self, rows: Rows) -> Pixels:
        """uint8 (n, v, h, w, 3) of some rows."""
        ...

    def states(self, rows: Rows) -> Float[np.ndarray, "n ds"]:
        """Proprioception in robot units of some rows."""
        ...


class PictureMeasurement:
    """Collects, window by window, how far pictures are from what the cameras saw."""

    def __init__(self, checkpoint: Checkpoint, recorded: Recorded, perceptual: PerceptualDistance | None) -> None:
        self._checkpoint, self._recorded, self._perceptual = checkpoint, recorded, perceptual
        self._names = MEASURES if perceptual is not None else MEASURES[:2]
        self._parts: list[Values] = []
        self._exists: list[NDArray[np.bool_]] = []
        self.seconds: tuple[float, ...] = ()

    @torch.inference_mode()
    def add(
        self,
        rows: Rows,
        current: Float[Tensor, "n z 1 h vw"],
        future: Float[Tensor, "n z f h vw"],
        imagined: Float[Tensor, "n z f h vw"],
        views: Bool[Tensor, "n v"],
    ) -> None:
        """Measures the windows whose current frames are at the global `rows`, given their latents."""
        body = self._checkpoint.config.embodiment
        decoded = {
            "imagined": self._decoded(imagined, current),
            "encoded": self._decoded(future, current),
            "copied": self._decoded(current.expand_as(future), current),
        }
        num_frames = decoded["imagined"].shape[2]
        steps = body.frame_stride * np.arange(num_frames + 1)
        self.seconds = tuple((steps[1:] / body.control_hz).tolist())
        seen = pixels_to_tensor(self._recorded.pictures((rows[:, None] + steps).reshape(-1)))
        seen = rearrange(seen, "(n t) v c h w -> n v t c h w", t=num_frames + 1)
        decoded["kept"] = seen[:, :, :1].expand(-1, -1, num_frames, -1, -1, -1)
        truth = _Compared(seen[:, :, 1:], self._perceptual)
        measured = [truth.to(_Compared(decoded[name], self._perceptual)) for name in PICTURES]
        self._parts.append(rearrange(np.stack(measured), "p m (n v t) -> n p m v t", v=seen.shape[1], t=num_frames))
        self._exists.append(views.numpy())

    def card(self, moving: NDArray[np.bool_], families: Rows, rng: np.random.Generator) -> PictureCard:
        """What was found.

        Args:
            moving: Which of the windows, in the order in which they were added, move.
            families: What an interval draws as one.
            rng: Source of the intervals.
        """
        values, exists = np.concatenate(self._parts), np.concatenate(self._exists)
        names = [camera.name for camera in self._checkpoint.config.embodiment.cameras]
        views = {
            camera: {
                measure: tuple(
                    _horizon(values[:, :, m, v, t], exists[:, v], measure == "perceptual", moving, families, rng, self.seconds[t])
                    for t in range(values.shape[4])
                )
                for m, measure in enumerate(self._names)
            }
            for v, camera in enumerate(names)
            if exists[:, v].any()
        }
        perceptual = PERCEPTUAL if self._perceptual is not None else ""
        return PictureCard(num_windows=len(values), num_moving=int(moving.sum()), perceptual=perceptual, views=views)

    def _decoded(self, latents: Tensor, current: Tensor) -> Float[Tensor, "n v t c h w"]:
        return pixels_to_tensor(latents_to_frames(self._checkpoint, latents, _of_each(self._checkpoint, current)))


def _of_each(checkpoint: Checkpoint, current: Tensor) -> Tensor | None:
    """The frame before each future, where the autoencoder decodes sequences; it takes them all then."""
    return current if checkpoint.autoencoder.stride[0] > 1 else None


class _Compared:
    """Pictures of one kind, and what the perceptual network sees in them: of a repeated picture it is asked once."""

    def __init__(self, pictures: Float[Tensor, "n v t c h w"], perceptual: PerceptualDistance | None) -> None:
        self._pictures = rearrange(pictures, "n v t c h w -> (n v t) c h w")
        self._perceptual, self._features = perceptual, []
        if perceptual is not None:
            t = pictures.shape[2]
            is_still = bool((pictures == pictures[:, :, :1]).all())
            asked = rearrange(pictures[:, :, : 1 if is_still else t], "n v t c h w -> (n v t) c h w")
            self._features = perceptual.features(asked)
            if is_still:
                self._features = [layer.repeat_interleave(t, dim=0) for layer in self._features]

    def to(self, other: _Compared) -> Values:
        """Every measure of every pair, shape (measures, pictures)."""
        found = [psnr(self._pictures, other._pictures), ssim(self._pictures, other._pictures)]
        if self._perceptual is not None:
            found.append(self._perceptual.between(self._features, other._features))
        return torch.stack(found).numpy()


def _horizon(
    values: Float[np.ndarray, "n p"],
    exists: Bool[np.ndarray, " n"],
    less_is_better: bool,
    moving: NDArray[np.bool_],
    families: Rows,
    rng: np.random.Generator,
    seconds: float,
) -> HorizonCard:
    """One view, horizon and measure. Where nothing moves, that is said of all windows instead."""
    chosen = exists & moving if (exists & moving).any() else exists
    imagined, copied = values[:, PICTURES.index("imagined")], values[:, PICTURES.index("copied")]
    gain = (copied - imagined) if less_is_better else (imagined - copied)
    found = {name: mean_interval(values[chosen, p], families[chosen], rng) for p, name in enumerate(PICTURES)}
    return HorizonCard(
        seconds=seconds,
        **found,
        gain=mean_interval(gain[chosen], families[chosen], rng),
        gain_everywhere=mean_interval(gain[exists], families[exists], rng),
    )


def choose_picture_windows(kinds: Sequence[str] | NDArray[np.str_], most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """At most `most` windows of every kind, shape (windows,)."""
    labels, chosen = np.asarray(kinds), np.zeros(len(kinds), np.bool_)
    for kind in np.unique(labels):
        own = np.flatnonzero(labels == kind)
        chosen[rng.permutation(own)[:most]] = True
    return chosen
