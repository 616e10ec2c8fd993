"""The slow, readable twins of `VideoActionPolicy.propose`: nothing shared, nothing batched, nothing cached. For tests."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.flow import UniPC, unipc_schedule
from tau0.model.world_model import WorldModel
from tau0.policy.inpainting import STRONGEST, soft_mask
from tau0.tensors import Conditioning, Prefix


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


def inpaint_one_by_one(
    model: WorldModel,
    conditioning: Conditioning,
    future: Float[Tensor, "1 z f h vw"],
    noise: Float[Tensor, "n ha da"],
    prefix: Prefix,
    num_steps: int,
) -> Float[Tensor, "n ha da"]:
    """The same with a prefix: the whole Jacobian of the estimate at each step, and the paper's formulas in the paper's time."""
    latents, level = torch.cat([conditioning.current, future], dim=2), torch.tensor([[0.0] + [1000.0] * future.shape[2]])
    horizon, known = noise.shape[1], len(prefix.actions)
    wanted = torch.cat([prefix.actions, torch.zeros(horizon - known, noise.shape[2])])
    mask = soft_mask(horizon, prefix.num_frozen, known)[:, None]
    with torch.no_grad():
        context = model.action_context(model.video_features(latents, level, conditioning.text))
    chunks = []
    for chunk in noise.split(1):
        solver = UniPC(unipc_schedule(num_steps))
        for i in range(num_steps):
            tau = 1 - float(solver.schedule.sigmas[i])
            timestep = solver.schedule.timesteps[i : i + 1]

            def estimate(noisy: Tensor, timestep: Tensor = timestep, tau: float = tau) -> Tensor:
                return noisy - (1 - tau) * model.denoise_actions(context, noisy, timestep, conditioning.state)

            jacobian = torch.autograd.functional.jacobian(estimate, chunk).reshape(chunk.numel(), chunk.numel())
            with torch.no_grad():
                clean = estimate(chunk)
                pull = ((mask * (wanted - clean)).flatten() @ jacobian).reshape(chunk.shape)
                r_squared = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
                weight = min(STRONGEST, (1 - tau) / (tau * r_squared))
                chunk = solver.step(chunk, (chunk - clean) / (1 - tau) - weight * pull, i)
        chunks.append(torch.cat([prefix.actions[None, : prefix.num_frozen], chunk[:, prefix.num_frozen :]], dim=1))
    return torch.cat(chunks)
