"""Stage one: the video autoencoder, trained on frames of the sources.

Small coloured things decide what a robot must do, and plain squared error forgets them: every pixel is weighed by how rare its colour
is in its camera, so that a goal marker of twenty pixels counts as much as a table of five thousand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from tau0.contract import Camera, Pixels
from tau0.data.aligned import AlignedSource
from tau0.data.split import split_episodes
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.train.config import AutoencoderTraining
from tau0.train.frames import draw_frames
from tau0.train.parallel import has_fast_bfloat16
from tau0.views import pixels_to_tensor

COLOUR_LEVELS = 12
MAX_WEIGHT = 30.0
PCA_FRAMES = 1500
UNSEEN = 10
"""One frame of the validation split for every so many of the training split measures the result."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderReport:
    """What came out: steps taken, and peak signal-to-noise ratios (dB) of held-out frames, plain and rarity-weighted, by camera."""

    steps: int
    psnr_db: dict[str, float]
    weighted_psnr_db: dict[str, float]


def rarity_weights(pixels: Pixels, exponent: float) -> Float[Tensor, "n h w"]:
    """`p(colour)^-exponent` for every pixel, mean 1, at most `MAX_WEIGHT`; `p` is the histogram over all the given frames."""
    levels = (pixels.astype(np.uint16) * COLOUR_LEVELS // 256).astype(np.int32)
    colour = (levels[..., 0] * COLOUR_LEVELS + levels[..., 1]) * COLOUR_LEVELS + levels[..., 2]
    counts = np.bincount(colour.reshape(-1), minlength=COLOUR_LEVELS**3)
    weight = np.where(counts > 0, (counts.clip(1) / colour.size) ** -exponent, 0.0)
    weight = weight / (weight * counts / colour.size).sum()
    weight = weight.clip(max=MAX_WEIGHT)
    return torch.from_numpy((weight / (weight * counts / colour.size).sum())[colour].astype(np.float32))


def train_autoencoder(
    config: AutoencoderConfig,
    training: AutoencoderTraining,
    sources: Sequence[AlignedSource],
    cameras: Sequence[Camera],
    seed: int,
    on_step: Callable[[float, float], None] = lambda _fraction, _loss: None,
) -> tuple[Autoencoder, AutoencoderReport]:
    """Trains for `training.minutes` on the sources' training splits and measures on their validation splits.

    `on_step` gets the share of time used and the loss.

    Raises:
        DatasetError: When a camera has no picture that can be read.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    splits = [split_episodes(source.episodes) for source in sources]
    validation = [(source, split["validation"] or split["train"]) for source, split in zip(sources, splits, strict=True)]
    unseen = draw_frames(validation, cameras, training.num_frames // UNSEEN, rng)
    seen = draw_frames([(source, split["train"]) for source, split in zip(sources, splits, strict=True)], cameras, training.num_frames, rng)
    held_out = [len(pixels) for pixels in unseen]
    frames = [np.concatenate(pair) for pair in zip(unseen, seen, strict=True)]
    weights = [rarity_weights(pixels, training.rarity) for pixels in frames]
    x = torch.cat([torch.from_numpy(pixels[num:]) for pixels, num in zip(frames, held_out, strict=True)])
    w = torch.cat([weight[num:] for weight, num in zip(weights, held_out, strict=True)])
    torch.manual_seed(seed)
    model = Autoencoder(config)
    sample = torch.randperm(len(x), generator=generator)[:PCA_FRAMES]
    model.start_from_pca(pixels_to_tensor(x[sample].numpy()), w[sample])
    _normalise(model, x, generator)
    steps = _optimise(model, training, x, w, generator, on_step)
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    _normalise(model, x, generator)
    model.eval()
    scores = [_psnr(model, pixels[:num], weight[:num]) for pixels, weight, num in zip(frames, weights, held_out, strict=True)]
    plain, weighted = ({c.name: s[k] for c, s in zip(cameras, scores, strict=True)} for k in (0, 1))
    return model, AutoencoderReport(steps=steps, psnr_db=plain, weighted_psnr_db=weighted)


def _optimise(
    model: Autoencoder,
    training: AutoencoderTraining,
    x: Tensor,
    w: Tensor,
    generator: torch.Generator,
    on_step: Callable[[float, float], None],
) -> int:
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=1e-4, fused=True)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    latent_shape = (model.latent_channels, *(side // model.config.stride for side in x.shape[1:3]))
    start, steps, fraction = time.monotonic(), 0, 0.0
    while fraction < 1.0:
        picked = torch.randint(len(x), (training.batch,), generator=generator)
        images = pixels_to_tensor(x[picked].numpy()).contiguous(memory_format=torch.channels_last)
        noise = torch.randn((len(images), *latent_shape), generator=generator) * model.std[:, None, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16("cpu")):
            raw = model.to_raw(images)
            rebuilt = model.from_raw(raw + training.latent_noise * noise).float()
        error = rearrange(w[picked], "b h w -> b 1 h w") * ((rebuilt - images).square() + 0.05 * (rebuilt - images).abs())
        loss = error.mean()
        fraction = min(1.0, (time.monotonic() - start) / (60 * training.minutes))
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * min(1.0, (steps + 1) / 100) * (0.5 + 0.5 * float(np.cos(np.pi * fraction)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        steps += 1
        if steps % 50 == 0:
            _follow_statistics(model, raw.detach().float())
        on_step(fraction, float(loss.detach()))
    return steps


def _follow_statistics(model: Autoencoder, raw: Tensor) -> None:
    """Keeps the noise in proportion while latents drift; exact statistics are taken at the end."""
    model.std.lerp_(raw.std(dim=(0, 2, 3)).clamp(min=1e-4), 0.2)


@torch.no_grad()
def _normalise(model: Autoencoder, x: Tensor, generator: torch.Generator) -> None:
    picked = torch.randperm(len(x), generator=generator)[:PCA_FRAMES]
    raw = torch.cat([model.to_raw(pixels_to_tensor(chunk.numpy())) for chunk in x[picked].split(64)])
    model.mean.copy_(raw.mean(dim=(0, 2, 3)))
    model.std.copy_(raw.std(dim=(0, 2, 3)).clamp(min=1e-4))


@torch.no_grad()
def _psnr(model: Autoencoder, pixels: Pixels, weights: Tensor) -> tuple[float, float]:
    """Peak signal-to-noise ratio in dB over pixels in [-1, 1] (peak 2), plain and weighted."""
    images = pixels_to_tensor(pixels)
    rebuilt = torch.cat([model.from_raw(model.to_raw(chunk)) for chunk in images.split(64)]).clamp(-1, 1)
    error = (rebuilt - images).square().mean(dim=1)
    weighted = (error * weights).sum() / weights.sum()
    return float(10 * torch.log10(4 / error.mean())), float(10 * torch.log10(4 / weighted))
