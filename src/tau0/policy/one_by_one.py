"""The slow, readable twin of `VideoActionPolicy.propose`: nothing shared, nothing batched, nothing cached. For tests."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.flow import UniPC, unipc_schedule
from tau0.model.world_model import WorldModel
from tau0.tensors import Conditioning


@torch.inference_mode()
def propose_one_by_one(
    model: WorldModel,
    conditioning: Conditioning,
    future: Float[Tensor, "1 z f h vw"],
    future_sigma: float,
    noise: Float[Tensor, "n ha da"],
    num_steps: int,
) -> Float[Tensor, "n ha da"]:
    """The chunks that `noise` becomes, each by a trunk pass of its own at each of its denoising steps."""
    chunks = []
    latents = torch.cat([conditioning.current, future], dim=2)
    timestep = torch.tensor([[0.0] + [1000 * future_sigma] * future.shape[2]])
    for chunk in noise.split(1):
        solver = UniPC(unipc_schedule(num_steps))
        for i in range(num_steps):
            features = model.video_features(latents, timestep, conditioning.text)
            context = model.action_context(features)
            velocity = model.denoise_actions(context, chunk, solver.schedule.timesteps[i : i + 1], conditioning.state)
            chunk = solver.step(chunk, velocity, i)
        chunks.append(chunk)
    return torch.cat(chunks)
