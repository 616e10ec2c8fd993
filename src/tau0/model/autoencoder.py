"""Our own compact video autoencoder, for sizes at which the published one (2.8 GB) makes no sense.

Every frame is encoded alone (temporal stride 1). Both directions are the sum of a linear map on patches, started from a principal
component analysis, and a convolutional correction that starts at zero: training begins at the quality of PCA and improves on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn


class VideoEncoder(Protocol):
    """Pixels in [-1, 1] to normalised latents and back.

    Attributes:
        stride: Pixel frames, rows and columns per latent one.
        latent_channels: Channels `z`.
    """

    stride: tuple[int, int, int]
    latent_channels: int

    def encode(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b z f hl wl"]:
        """Latents of unit variance per channel."""
        ...

    def decode(self, latents: Float[Tensor, "b z f hl wl"]) -> Float[Tensor, "b c t h w"]:
        """Pixels, not clipped."""
        ...


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """`stride` pixels a side become one latent of `latent_channels` numbers; `width` is that of the convolutions."""

    latent_channels: int
    stride: int = 16
    width: int = 64


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input plus its correction."""
        return x + self.body(x)


class Autoencoder(nn.Module):
    """The networks, and the per-channel statistics that make latents unit variance."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        if config.stride % 4 or config.stride & (config.stride - 1):
            raise ValueError(f"autoencoder stride {config.stride} is not a power of two of at least 4")
        self.config = config
        self.stride = (1, config.stride, config.stride)
        self.latent_channels = z = config.latent_channels
        width, halvings = config.width, (config.stride // 4).bit_length() - 1
        self.to_latent = nn.Conv2d(3, z, config.stride, config.stride)
        self.from_latent = nn.ConvTranspose2d(z, 3, config.stride, config.stride, bias=False)
        self.tile = nn.Parameter(torch.zeros(3, config.stride, config.stride))
        down = [layer for _ in range(halvings) for layer in (Residual(width), nn.Conv2d(width, width, 3, 2, 1))]
        up = [
            layer for _ in range(halvings) for layer in (nn.Upsample(scale_factor=2.0), nn.Conv2d(width, width, 3, 1, 1), Residual(width))
        ]
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, width, 3, 1, 1), *down, Residual(width), nn.SiLU(), nn.Conv2d(width, z, 3, 1, 1)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(z, width, 3, 1, 1), Residual(width), *up, nn.SiLU(), nn.Conv2d(width, 48, 3, 1, 1), nn.PixelShuffle(4)
        )
        for correction in (self.encoder[-1], self.decoder[-2]):
            nn.init.zeros_(correction.weight)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(correction.bias)  # pyright: ignore[reportArgumentType]
        self.register_buffer("mean", torch.zeros(z))
        self.register_buffer("std", torch.ones(z))

    def to_raw(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b z hl wl"]:
        """Latents before normalisation."""
        return self.to_latent(images) + self.encoder(images)

    def from_raw(self, latents: Float[Tensor, "b z hl wl"]) -> Float[Tensor, "b c h w"]:
        """Pixels of latents before normalisation."""
        tiles = repeat(self.tile, "c p q -> c (h p) (w q)", h=latents.shape[2], w=latents.shape[3])
        return self.from_latent(latents) + tiles + self.decoder(latents)

    def encode(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b z f hl wl"]:
        """Normalised latents, one per frame."""
        raw = self.to_raw(rearrange(video, "b c t h w -> (b t) c h w"))
        latents = (raw - self.mean[:, None, None]) / self.std[:, None, None]
        return rearrange(latents, "(b t) z h w -> b z t h w", b=len(video))

    def decode(self, latents: Float[Tensor, "b z f hl wl"]) -> Float[Tensor, "b c t h w"]:
        """Pixels of normalised latents, not clipped."""
        raw = rearrange(latents, "b z f h w -> (b f) z h w") * self.std[:, None, None] + self.mean[:, None, None]
        return rearrange(self.from_raw(raw), "(b f) c h w -> b c f h w", b=len(latents))

    @torch.no_grad()
    def start_from_pca(self, images: Float[Tensor, "n c h w"], weights: Float[Tensor, "n h w"]) -> None:
        """Sets the linear maps to the principal components of patches.

        Args:
            images: A sample of the data, in [-1, 1].
            weights: How much each pixel matters; a patch counts with the mean of its pixels.
        """
        p = self.config.stride
        patches = rearrange(images, "n c (h p) (w q) -> (n h w) (c p q)", p=p, q=p).double()
        weight = rearrange(weights, "n (h p) (w q) -> (n h w) (p q)", p=p, q=p).double().mean(dim=1)
        weight = weight / weight.sum()
        centre = weight @ patches
        centred = patches - centre
        covariance = centred.T @ (centred * weight[:, None])
        components = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : self.latent_channels]
        kernels = rearrange(components, "(c p q) z -> z c p q", c=3, p=p).float()
        self.to_latent.weight.copy_(kernels)
        self.to_latent.bias.copy_(-(centre @ components).float())  # pyright: ignore[reportOptionalMemberAccess]
        self.from_latent.weight.copy_(kernels)
        self.tile.copy_(rearrange(centre, "(c p q) -> c p q", c=3, p=p).float())
