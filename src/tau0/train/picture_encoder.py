"""Pictures in bytes to latents in half precision, by our own autoencoder or the published one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from tau0.contract import Camera, ContractError, Pixels
from tau0.model.encoders import AnyAutoencoder
from tau0.model.wan_vae import WanAutoencoder, WanAutoencoderConfig
from tau0.train.augmentation import Draw
from tau0.views import pixels_to_tensor

FRAMES_AT_ONCE = 128
"""Pixel frames that are encoded together, at most; a single clip may have more."""


def encoder_identity(autoencoder: AnyAutoencoder) -> str:
    """First 16 hex digits of a hash over shape and weights: latents of another encoder are never mistaken for these."""
    if isinstance(autoencoder, WanAutoencoder):
        return autoencoder.config.identity
    digest = hashlib.sha256(repr(asdict(autoencoder.config)).encode())
    for name, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """What has to be known of an autoencoder in order to read its latents.

    Attributes:
        identity: See `encoder_identity`.
        latent_channels: Channels `z`.
        stride: Pixel frames, rows and columns per latent one.
    """

    identity: str
    latent_channels: int
    stride: tuple[int, int, int]

    @classmethod
    def of(cls, autoencoder: AnyAutoencoder | WanAutoencoderConfig) -> EncoderFacts:
        """Those of an autoencoder, or of a published one that is not loaded."""
        is_config = isinstance(autoencoder, WanAutoencoderConfig)
        identity = autoencoder.identity if is_config else encoder_identity(autoencoder)
        return cls(identity=identity, latent_channels=autoencoder.latent_channels, stride=autoencoder.stride)

    @property
    def is_per_frame(self) -> bool:
        """Whether every frame is encoded alone, so that latents of single frames serve as future frames too."""
        return self.stride[0] == 1

    def latent_shape(self, canvas: Sequence[Camera]) -> tuple[int, int, int]:
        """Channels, rows and columns of one latent frame of any of these views.

        Raises:
            ContractError: When they differ in size, or are no multiple of the stride.
        """
        _, rows, columns = self.stride
        height, width = canvas[0].height, canvas[0].width
        if any((camera.height, camera.width) != (height, width) for camera in canvas):
            sizes = ", ".join(f"{camera.name} {camera.height} x {camera.width}" for camera in canvas)
            raise ContractError(f"views on one canvas must have one size, got {sizes}")
        if height % rows or width % columns:
            raise ContractError(f"the autoencoder takes pictures in steps of {rows} x {columns} pixels, got {height} x {width}")
        return self.latent_channels, height // rows, width // columns


class PictureEncoder:
    """A frozen autoencoder at work.

    Attributes:
        facts: Of the autoencoder: ours makes every pixel frame a latent frame, the published one takes 1 + 4 n.
    """

    def __init__(self, autoencoder: AnyAutoencoder, device: str = "cpu", frames_at_once: int = FRAMES_AT_ONCE) -> None:
        self.facts = EncoderFacts.of(autoencoder)
        self._autoencoder = autoencoder.eval().to(device)
        self._device, self._frames_at_once = device, frames_at_once

    @torch.inference_mode()
    def encode(self, clips: Sequence[Pixels], draws: Sequence[Draw] | None = None, view: int = 0) -> NDArray[np.float16]:
        """Latents of clips of one length and size.

        Args:
            clips: uint8 pictures, each of shape (t, h, w, c), with t = 1, or 1 + 4 n for the published autoencoder.
            draws: How each clip is changed; not at all unless given.
            view: Which camera this is, for the draws.

        Returns:
            Half precision, shape (clips, f, z, hl, wl).
        """
        encoded = []
        for part in _parts(len(clips), max(1, self._frames_at_once // len(clips[0]))):
            video = pixels_to_tensor(np.stack(clips[part])).to(self._device)
            if draws is not None:
                video = torch.stack([draw(clip, view) for draw, clip in zip(draws[part], video, strict=True)])
            encoded.append(self._encode(rearrange(video, "n t c h w -> n c t h w")))
        return np.concatenate(encoded)

    def _encode(self, video: torch.Tensor) -> NDArray[np.float16]:
        latents = self._autoencoder.encode(video)
        return rearrange(latents, "n z f h w -> n f z h w").half().cpu().numpy()


def _parts(count: int, most: int) -> Iterator[slice]:
    """Neighbouring parts of `count`, of at most `most` each; every size is a power of two.

    Convolutions are prepared for each new size of a batch, and what was prepared is kept: with any size that comes, as samples of video
    bring it, memory would grow for thousands of steps.
    """
    start = 0
    while start < count:
        size = 1 << (min(most, count - start).bit_length() - 1)
        yield slice(start, start + size)
        start += size
