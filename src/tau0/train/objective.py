"""The joint objective: what each sample is asked to predict (SPEC.md sections 3 and 4). Masked parts contribute exactly nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.data.index import Stream
from tau0.flow import TIMESTEP_SCALE, add_noise, training_levels, velocity_target
from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.masks import blanked, seen_columns, supervised, weight_of
from tau0.views import views_to_canvas

FIRST_VIDEO_LEVEL, FIRST_ACTION_LEVEL = 0.999, 1.0


class SampleErrors(NamedTuple):
    """Errors of one term, sample by sample: their weighted sum over what the mask keeps, and how many that are."""

    total: Float[Tensor, " b"]
    kept: Float[Tensor, " b"]

    def mean(self, kept: float | None = None) -> Float[Tensor, ""]:
        """Sum over all samples by the number `kept`, which is theirs unless given; 0 where nothing is kept."""
        return self.total.sum() / (self.kept.sum().clamp(min=1.0) if kept is None else max(kept, 1.0))


def masked_errors(error: Float[Tensor, "b *shape"], mask: Bool[Tensor, "b *shape"], weight: Float[Tensor, " b"]) -> SampleErrors:
    """Sums over what the mask keeps, times each sample's weight."""
    kept = torch.where(mask, error, torch.zeros_like(error))
    return SampleErrors(weight * kept.flatten(1).sum(dim=1), mask.flatten(1).sum(dim=1).to(error.dtype))


def drop_captions(batch: Batch, empty: Float[Tensor, "l c"], probability: float, draws: Draws) -> Batch:
    """The batch with some instructions replaced by "", whose features are `empty`."""
    dropped = rearrange(draws.uniform() < probability, "b -> b 1 1").to(batch.text.device)
    return replace(batch, text=torch.where(dropped, empty.to(batch.text), batch.text))


def stream_errors(
    stream: Stream, model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, draws: Draws
) -> dict[str, SampleErrors]:
    """What the stream's samples are asked to predict: `policy_errors` or `simulator_errors`."""
    errors = policy_errors if stream == "policy" else simulator_errors
    return errors(model, batch, config, sampling, draws)


def weighted_sum(errors: Mapping[str, SampleErrors], config: TrainConfig, kept: Mapping[str, float] | None = None) -> Float[Tensor, ""]:
    """What is minimised: the mean of every term, by its weight.

    Args:
        errors: Of a batch, or of a part of it.
        config: With the weights.
        kept: By term, what the masks of the whole batch keep; that of `errors` alone unless given.
    """
    means = {name: error.mean(None if kept is None else kept[name]) for name, error in errors.items()}
    return torch.stack([getattr(config.loss, name) * mean for name, mean in means.items()]).sum()


def policy_losses(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, draws: Draws
) -> dict[str, Float[Tensor, ""]]:
    """Means of `policy_errors`."""
    return {name: errors.mean() for name, errors in policy_errors(model, batch, config, sampling, draws).items()}


def simulator_losses(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, draws: Draws
) -> dict[str, Float[Tensor, ""]]:
    """Means of `simulator_errors`."""
    return {name: errors.mean() for name, errors in simulator_errors(model, batch, config, sampling, draws).items()}


def policy_errors(model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, draws: Draws) -> dict[str, SampleErrors]:
    """Video and action velocity errors of the policy. Video and action levels are drawn independently.

    Raises:
        ValueError: When a sample has no camera.
    """
    batch, columns = blanked(batch), seen_columns(batch)
    canvas = views_to_canvas(batch.latents)[:, :, sampling.num_memory :]
    sigma = _policy_video_levels(config, sampling, draws).to(canvas.device)
    frames, velocity, timestep = _noised_future(canvas, 1, sigma, batch.video_mask, draws)
    features = model.video_features(frames, timestep, batch.text, columns)
    video = (features.velocity[:, :, 1:] - velocity).square()

    num, (_, ha, da) = config.action_draws, batch.target_actions.shape
    target, state = repeat(batch.target_actions, "b ha da -> (b r) ha da", r=num), repeat(batch.state, "b ds -> (b r) ds", r=num)
    level = training_levels(draws.grid(num), config.action_shift, first=FIRST_ACTION_LEVEL).flatten().to(target.device)
    noise = rearrange(draws.normal(num, ha, da), "b r ha da -> (b r) ha da").to(target.device)
    present = repeat(batch.action_mask.any(dim=1), "b da -> (b r) 1 da", r=num)
    noisy = add_noise(target, noise, rearrange(level, "b -> b 1 1")) * present
    tokens = None if columns is None else model.trunk.token_mask(columns, model.grid(frames))
    predicted = model.denoise_actions(features.hidden, noisy, TIMESTEP_SCALE * level, state, tokens)
    action = (predicted - velocity_target(target, noise)).square()
    return _by_term("policy", batch, {
        "policy_video": _by_picture(video, batch),
        "action": reduce(action, "(b r) ha da -> b ha da", "mean", r=num),
    })  # fmt: skip


def simulator_errors(
    model: WorldModel, batch: Batch, config: TrainConfig, sampling: SamplingConfig, draws: Draws
) -> dict[str, SampleErrors]:
    """Video and progress velocity errors of the simulator, under the actions that were executed.

    Raises:
        ValueError: When a sample has no camera.
    """
    batch, columns = blanked(batch), seen_columns(batch)
    canvas, num_clean = views_to_canvas(batch.latents), sampling.num_memory + 1
    sigma = training_levels(draws.grid(1), sampling.video_shift, first=FIRST_VIDEO_LEVEL).flatten().to(canvas.device)
    frames, velocity, timestep = _noised_future(canvas, num_clean, sigma, batch.video_mask, draws)
    level = training_levels(draws.grid(1), config.progress_shift, first=FIRST_ACTION_LEVEL).flatten().to(canvas.device)
    noise = draws.normal(*batch.progress.shape[1:]).to(canvas.device)
    noisy = add_noise(batch.progress, noise, rearrange(level, "b -> b 1"))
    features, progress = model.denoise_future(
        frames, timestep, batch.text, batch.executed_actions, noisy, TIMESTEP_SCALE * level, columns,
        progress_shapes_trunk=config.progress_shapes_trunk,
    )  # fmt: skip
    video = (features.velocity[:, :, num_clean:] - velocity).square()
    return _by_term("simulator", batch, {
        "simulator_video": _by_picture(video, batch),
        "progress": (progress - velocity_target(batch.progress, noise)).square(),
    })  # fmt: skip


def _policy_video_levels(config: TrainConfig, sampling: SamplingConfig, draws: Draws) -> Float[Tensor, " b"]:
    """Levels of the future frames: for some samples those at which the policy acts, or revises."""
    sigma = training_levels(draws.grid(1), sampling.video_shift, first=FIRST_VIDEO_LEVEL).flatten()
    lot = draws.uniform()
    sigma = torch.where(lot < config.pure_noise_share, 1.0, sigma)
    return torch.where(lot >= 1 - config.revision_share, sampling.revision_sigma, sigma)


def _noised_future(
    canvas: Tensor, num_clean: int, sigma: Tensor, known: Bool[Tensor, "b f"], draws: Draws
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames with a noisy future, the future's velocity, and the timestep of every frame. A frame that is not known is pure noise."""
    clean, future = canvas[:, :, :num_clean], canvas[:, :, num_clean:]
    noise = draws.normal(*future.shape[1:]).to(future.device)
    levels = torch.where(known, rearrange(sigma, "b -> b 1"), torch.ones_like(sigma)[:, None])
    noisy = add_noise(future, noise, rearrange(levels, "b f -> b 1 f 1 1"))
    timestep = torch.cat([levels.new_zeros(len(levels), num_clean), TIMESTEP_SCALE * levels], dim=1)
    return torch.cat([clean, noisy], dim=2), velocity_target(future, noise), timestep


def _by_picture(error: Float[Tensor, "b z f h vw"], batch: Batch) -> Float[Tensor, "b f v"]:
    return reduce(error, "b z f h (v w) -> b f v", "mean", v=batch.view_mask.shape[1])


def _by_term(stream: Stream, batch: Batch, errors: Mapping[str, Tensor]) -> dict[str, SampleErrors]:
    masks = supervised(stream, batch)
    return {term: masked_errors(error, masks[term], weight_of(term, batch)) for term, error in errors.items()}
