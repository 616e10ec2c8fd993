"""The joint objective: what each sample is asked to predict (SPEC.md sections 3 and 4). Masked parts contribute exactly nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.checkpoint import SamplingConfig
from tau0.data.index import Stream
from tau0.flow import TIMESTEP_SCALE, add_noise, training_levels, velocity_target
from tau0.model.world_model import WorldModel
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.views import canvas_mask, views_to_canvas

FIRST_VIDEO_LEVEL, FIRST_ACTION_LEVEL = 0.999, 1.0


class SampleErrors(NamedTuple):
    """Errors of one term, sample by sample: their sum over what the mask keeps, and how many that are."""

    total: Float[Tensor, " b"]
    kept: Float[Tensor, " b"]

    def mean(self) -> Float[Tensor, ""]:
        """Mean over what the mask keeps of all samples; 0 where it keeps nothing."""
        return self.total.sum() / self.kept.sum().clamp(min=1.0)


def masked_errors(error: Float[Tensor, "br *shape"], mask: Bool[Tensor, "br *shape"], draws: int = 1) -> SampleErrors:
    """Sums over what the mask keeps, where `draws` consecutive rows belong to one sample."""
    kept = mask.expand_as(error).to(error.dtype)
    total, number = (rearrange(t, "(b r) ... -> b (r ...)", r=draws).sum(dim=1) for t in (error * kept, kept))
    return SampleErrors(total, number)


def masked_mean(error: Float[Tensor, "b *shape"], mask: Bool[Tensor, "b *shape"]) -> Float[Tensor, ""]:
    """Mean over what the mask keeps; 0 where it keeps nothing."""
    return masked_errors(error, mask).mean()


def drop_captions(batch: Batch, probability: float, generator: torch.Generator) -> Batch:
    """The batch with some instructions replaced by "", whose features are zero."""
    kept = (torch.rand(len(batch), generator=generator) >= probability).to(batch.text.device)
    return replace(batch, text=batch.text * rearrange(kept, "b -> b 1 1"))


def video_mask(batch: Batch, width: int) -> Bool[Tensor, "b 1 f 1 vw"]:
    """Which future frames and columns of the canvas may be supervised."""
    columns = canvas_mask(batch.view_mask, width)
    return rearrange(batch.video_mask, "b f -> b 1 f 1 1") & rearrange(columns, "b vw -> b 1 1 1 vw")


def draw_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the same shape on the same device, drawn on the generator's: one seed means one noise everywhere."""
    return torch.randn(like.shape, generator=generator).to(like.device)


def _noised_future(clean: Tensor, future: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Frames with a noisy future, the future's velocity, and the timestep of every frame."""
    noise = draw_noise(future, generator)
    noisy = add_noise(future, noise, rearrange(sigma, "b -> b 1 1 1 1"))
    timestep = torch.cat(
        [sigma.new_zeros(len(sigma), clean.shape[2]), repeat(TIMESTEP_SCALE * sigma, "b -> b f", f=future.shape[2])], dim=1
    )
    return torch.cat([clean, noisy], dim=2), velocity_target(future, noise), timestep


def stream_errors(
    stream: Stream, model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, generator: torch.Generator
) -> dict[str, SampleErrors]:
    """What the stream's samples are asked to predict: `policy_errors` or `simulator_errors`."""
    errors = policy_errors if stream == "policy" else simulator_errors
    return errors(model, batch, config, sampling, generator)


def weighted_sum(errors: dict[str, SampleErrors], config: TrainConfig) -> Float[Tensor, ""]:
    """What is minimised."""
    return torch.stack([getattr(config.loss, name) * error.mean() for name, error in errors.items()]).sum()


def policy_losses(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Means of `policy_errors`."""
    return {name: errors.mean() for name, errors in policy_errors(model, batch, config, sampling, generator).items()}


def simulator_losses(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Means of `simulator_errors`."""
    return {name: errors.mean() for name, errors in simulator_errors(model, batch, config, sampling, generator).items()}


def policy_errors(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, generator: torch.Generator
) -> dict[str, SampleErrors]:
    """Video and action velocity errors of the policy. Video and action levels are drawn independently."""
    canvas = views_to_canvas(batch.latents)[:, :, sampling.num_memory :]
    sigma = training_levels(len(batch), sampling.video_shift, first=FIRST_VIDEO_LEVEL, generator=generator)
    lot = torch.rand(len(batch), generator=generator)
    sigma = torch.where(lot < config.pure_noise_share, 1.0, sigma)
    sigma = torch.where(lot >= 1 - config.revision_share, sampling.revision_sigma, sigma).to(canvas.device)
    frames, velocity, timestep = _noised_future(canvas[:, :, :1], canvas[:, :, 1:], sigma, generator)
    columns = None if bool(batch.view_mask.all()) else canvas_mask(batch.view_mask, batch.latents.shape[-1])
    features = model.video_features(frames, timestep, batch.text, columns)
    video = (features.velocity[:, :, 1:] - velocity).square()

    draws = config.action_draws
    target, mask = (repeat(t, "b ha da -> (b r) ha da", r=draws) for t in (batch.target_actions, batch.action_mask))
    state = repeat(batch.state, "b ds -> (b r) ds", r=draws)
    level = training_levels(len(target), config.action_shift, first=FIRST_ACTION_LEVEL, generator=generator).to(target.device)
    noise = draw_noise(target, generator)
    noisy = add_noise(target, noise, rearrange(level, "b -> b 1 1"))
    tokens = None if columns is None else model.trunk.token_mask(columns, model.grid(frames))
    predicted = model.denoise_actions(features.hidden, noisy, TIMESTEP_SCALE * level, state, tokens)
    action = (predicted - velocity_target(target, noise)).square()
    return {
        "policy_video": masked_errors(video, video_mask(batch, batch.latents.shape[-1])),
        "action": masked_errors(action, mask, draws),
    }


def simulator_errors(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, generator: torch.Generator
) -> dict[str, SampleErrors]:
    """Video and progress velocity errors of the simulator, under the actions that were executed."""
    canvas, num_clean = views_to_canvas(batch.latents), sampling.num_memory + 1
    sigma = training_levels(len(batch), sampling.video_shift, first=FIRST_VIDEO_LEVEL, generator=generator).to(canvas.device)
    frames, velocity, timestep = _noised_future(canvas[:, :, :num_clean], canvas[:, :, num_clean:], sigma, generator)
    level = training_levels(len(batch), config.progress_shift, first=FIRST_ACTION_LEVEL, generator=generator).to(canvas.device)
    noise = draw_noise(batch.progress, generator)
    noisy = add_noise(batch.progress, noise, rearrange(level, "b -> b 1"))
    columns = None if bool(batch.view_mask.all()) else canvas_mask(batch.view_mask, batch.latents.shape[-1])
    features, progress = model.denoise_future(
        frames, timestep, batch.text, batch.executed_actions, noisy, TIMESTEP_SCALE * level, columns,
        progress_shapes_trunk=config.progress_shapes_trunk,
    )  # fmt: skip
    video = (features.velocity[:, :, num_clean:] - velocity).square()
    known = rearrange(batch.executed_mask, "b -> b 1")
    return {
        "simulator_video": masked_errors(video, video_mask(batch, batch.latents.shape[-1]) & rearrange(known, "b 1 -> b 1 1 1 1")),
        "progress": masked_errors((progress - velocity_target(batch.progress, noise)).square(), batch.progress_mask & known),
    }
