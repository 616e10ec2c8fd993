"""The slow, readable twin of `ActionConditionedSimulator.imagine`: one candidate at a time, one Euler step a line. For tests."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.model.world_model import WorldModel
from tau0.tensors import Conditioning


@torch.inference_mode()
def imagine_one_by_one(
    model: WorldModel,
    conditioning: Conditioning,
    actions: Float[Tensor, "n ha da"],
    video_noise: Float[Tensor, "1 z f h vw"],
    progress_noise: Float[Tensor, "1 ha"],
    num_steps: int,
) -> tuple[Float[Tensor, "n z f h vw"], Float[Tensor, "n ha"]]:
    """Future latents and progress of each chunk, every one from the same noise."""
    futures, curves = [], []
    clean = torch.cat([conditioning.memory, conditioning.current], dim=2)
    num_clean, num_future = clean.shape[2], video_noise.shape[2]
    for chunk in actions.split(1):
        video, progress = video_noise, progress_noise
        for i in range(num_steps):
            sigma = 1 - i / num_steps
            timestep = torch.tensor([[0.0] * num_clean + [1000 * sigma] * num_future])
            latents = torch.cat([clean, video], dim=2)
            features, velocity = model.denoise_future(latents, timestep, conditioning.text, chunk, progress, torch.tensor([1000 * sigma]))
            video = video - features.velocity[:, :, num_clean:] / num_steps
            progress = progress - velocity / num_steps
        futures.append(video)
        curves.append(progress.clamp(-1, 1))
    return torch.cat(futures), torch.cat(curves)
