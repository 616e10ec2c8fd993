"""The published video autoencoder, Wan 2.2's, computed by diffusers, behind the interface of our own (SPEC.md section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from tau0.model.encoder_folder import EncoderFolder, EncoderFolderError, open_folder

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

CLASS, STEM, WHAT = "AutoencoderKLWan", "diffusion_pytorch_model", "Wan video autoencoder"
CHUNK = 4
"""Pixel frames that become one latent frame, after a first frame of its own. The network is built for no other number."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What diffusers' config.json says, under its names. Whatever else stands there is not looked at."""

    base_dim: int
    z_dim: int
    dim_mult: tuple[int, ...]
    num_res_blocks: int
    temperal_downsample: tuple[bool, ...]
    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]
    decoder_base_dim: int | None = None
    attn_scales: tuple[float, ...] = ()
    is_residual: bool = False
    in_channels: int = 3
    out_channels: int = 3
    patch_size: int | None = None

    @property
    def stride(self) -> tuple[int, int, int]:
        """Pixel frames, rows and columns per latent one."""
        spatial = (self.patch_size or 1) * 2 ** (len(self.dim_mult) - 1)
        return 2 ** sum(self.temperal_downsample), spatial, spatial


_ARCHITECTURE = pydantic.TypeAdapter(Architecture)


@dataclass(frozen=True, kw_only=True)
class WanAutoencoderConfig:
    """What a checkpoint says of an autoencoder that it does not carry. Its weights lie in a folder that the user names.

    Attributes:
        identity: Of the folder's content, by `wan_autoencoder_config`.
        latent_channels: Channels `z`.
        stride: Pixel frames, rows and columns per latent one.
        kind: Tells it from our own.
    """

    identity: str
    latent_channels: int
    stride: tuple[int, int, int]
    kind: Literal["wan"] = "wan"


class WanAutoencoder(nn.Module):
    """A frozen `AutoencoderKLWan`. Latents are the mean of its posterior, normalised per channel by the numbers in its config."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: WanAutoencoderConfig, vae: AutoencoderKLWan, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.config = config
        self.stride = config.stride
        self.latent_channels = config.latent_channels
        self.vae: AutoencoderKLWan = vae.requires_grad_(False)
        self.register_buffer("mean", rearrange(torch.tensor(mean), "z -> z 1 1 1"))
        self.register_buffer("std", rearrange(torch.tensor(std), "z -> z 1 1 1"))
        self.eval()

    def encode(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b z f hl wl"]:
        """Normalised latents of 1 + 4 n frames in [-1, 1]: the first frame alone, then one latent frame for every four.

        Raises:
            ValueError: When the number of frames, rows or columns does not fit.
        """
        num_frames, *size = video.shape[2:]
        if num_frames % CHUNK != 1:
            raise ValueError(f"the {WHAT} takes 1 + {CHUNK} n frames, got {num_frames}")
        if any(pixels % stride for pixels, stride in zip(size, self.stride[1:], strict=True)):
            raise ValueError(f"the {WHAT} takes pictures in steps of {self.stride[1]} x {self.stride[2]} pixels, got {size[0]} x {size[1]}")
        with torch.autocast(video.device.type, enabled=False):
            raw = self.vae.encode(video.to(self.vae.dtype)).latent_dist.mode()  # pyright: ignore[reportAttributeAccessIssue]
        return (raw.float() - self.mean) / self.std

    def decode(self, latents: Float[Tensor, "b z f hl wl"]) -> Float[Tensor, "b c t h w"]:
        """Pixels of normalised latents, 1 + 4 (f - 1) frames, clipped to [-1, 1] by the network itself."""
        raw = latents.float() * self.std + self.mean
        with torch.autocast(latents.device.type, enabled=False):
            return self.vae.decode(raw.to(self.vae.dtype)).sample.float()  # pyright: ignore[reportAttributeAccessIssue]

    def train(self, mode: bool = True) -> WanAutoencoder:  # noqa: ARG002
        """Stays in evaluation mode: it is frozen."""
        return super().train(False)


def wan_autoencoder_config(path: Path) -> WanAutoencoderConfig:
    """What a checkpoint has to say of the autoencoder in `path`. Raises `EncoderFolderError` when the folder holds no such thing."""
    folder, architecture = _open(path)
    identity = folder.digest([*asdict(architecture)])
    return WanAutoencoderConfig(identity=identity, latent_channels=architecture.z_dim, stride=architecture.stride)


def load_wan_autoencoder(path: Path, expected: WanAutoencoderConfig | None = None) -> WanAutoencoder:
    """The autoencoder in `path`, in the precision that it is stored in.

    Raises:
        EncoderFolderError: When it is not whole, or not the one that is expected.
        ModuleNotFoundError: When the extra `wan` is not installed.
    """
    config = wan_autoencoder_config(path)
    if expected is not None and config != expected:
        wanted = vars(expected)
        differing = [f"{name} {wanted[name]}, got {value}" for name, value in vars(config).items() if wanted[name] != value]
        raise EncoderFolderError(f"{path} is not the {WHAT} that the checkpoint was trained with: expected {'; '.join(differing)}")
    folder, architecture = _open(path)
    with torch.device("meta"):
        vae = _wan_class()(**_lists(architecture))
    folder.fill(vae)
    return WanAutoencoder(config, vae, architecture.latents_mean, architecture.latents_std)


def _open(path: Path) -> tuple[EncoderFolder, Architecture]:
    folder = open_folder(path, STEM, WHAT)
    if (given := folder.config.get("_class_name")) != CLASS:
        raise EncoderFolderError(f"{path} holds a {given}, not an {CLASS}: name the folder `vae` of Wan 2.2 in diffusers' form")
    architecture = folder.described(_ARCHITECTURE)
    if architecture.stride[0] != CHUNK:
        raise EncoderFolderError(f"{path}: the {WHAT} shrinks time by {CHUNK}, this one by {architecture.stride[0]}")
    for name, numbers in (("latents_mean", architecture.latents_mean), ("latents_std", architecture.latents_std)):
        if len(numbers) != architecture.z_dim:
            raise EncoderFolderError(f"{path}: {name} has {len(numbers)} numbers for {architecture.z_dim} latent channels")
    return folder, architecture


def _lists(architecture: Architecture) -> dict[str, Any]:
    """The fields as diffusers wants them: it takes lists where a tuple would do."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(architecture).items()}


def _wan_class() -> type[AutoencoderKLWan]:
    try:
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    except ModuleNotFoundError as error:
        missing = (error.name or "diffusers").split(".")[0]
        raise ModuleNotFoundError(f"the {WHAT} needs {missing}, which is not installed: pip install 'tau0-wm[wan]'") from error
    return AutoencoderKLWan
