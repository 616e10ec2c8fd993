"""Real-time chunking: chunks that begin as the robot is already moving (Black, Galliker and Levine 2025, arXiv 2506.07339).

The part of the last chunk that is executed while the policy thinks is frozen, what follows of it is wanted, the later the less, and the
rest is inpainted: at every denoising step the velocity is corrected by pseudo-inverse guidance (their equations 2 to 5), with the
vector-Jacobian product of the denoised estimate. In our convention (sigma 1 is noise, `v = eps - x`) the estimate is `x - sigma v`, and
their time is `1 - sigma`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.flow import Solver
from tau0.tensors import Prefix

Velocity = Callable[[Float[Tensor, "n ha da"], float], Float[Tensor, "n ha da"]]
"""Noisy chunks and a timestep to their velocities, differentiable in the chunks."""

STRONGEST = 5.0
"""Their beta: the weight of the guidance is clipped here. Few denoising steps with unbounded weights leave the data."""


def soft_mask(horizon: int, num_frozen: int, num_known: int) -> Float[Tensor, " ha"]:
    """How much each step of the last chunk counts: 1 while frozen, then decaying, 0 from `num_known` on (their equation 5).

    `c (e^c - 1) / (e - 1)` with `c` falling from just below 1 to just above 0 over the steps that are known and not frozen.
    """
    steps = torch.arange(horizon, dtype=torch.float64)
    c = ((num_known - steps) / (num_known - num_frozen + 1)).clamp(0, 1)
    decaying = c * torch.expm1(c) / math.expm1(1.0)
    return torch.where(steps < num_frozen, 1.0, torch.where(steps < num_known, decaying, 0.0)).float()


def guidance_weight(sigma: float, strongest: float = STRONGEST) -> float:
    """`min(beta, sigma / ((1 - sigma) r^2))` with `r^2 = sigma^2 / ((1 - sigma)^2 + sigma^2)` (their equations 2 and 4)."""
    unclipped = (1 - sigma) * sigma / ((1 - sigma) ** 2 + sigma**2)
    return strongest if unclipped * strongest <= 1 else 1 / unclipped


class Inpainting:
    """The guidance of one query: a velocity in, the velocity that leads to the prefix out."""

    def __init__(self, prefix: Prefix, horizon: int, strongest: float = STRONGEST) -> None:
        """Guidance toward a prefix of chunks that are `horizon` steps long, no stronger than `strongest` (their beta).

        Raises:
            ValueError: The prefix is longer than a chunk, or frozen beyond its end.
        """
        known, dim = prefix.actions.shape
        if not 0 <= prefix.num_frozen <= known <= horizon:
            raise ValueError(f"a prefix of {known} steps, {prefix.num_frozen} of them frozen, does not fit a chunk of {horizon}")
        self._strongest = strongest
        with torch.inference_mode(False):
            self._known = prefix.actions.clone()
            self._wanted = torch.cat([self._known, self._known.new_zeros(horizon - known, dim)])
            self._mask = soft_mask(horizon, prefix.num_frozen, known).to(self._known)[:, None]
        self._num_frozen = prefix.num_frozen

    def velocity(self, plain: Velocity, noisy: Float[Tensor, "n ha da"], timestep: float, sigma: float) -> Float[Tensor, "n ha da"]:
        """The plain velocity, corrected by `w (W (wanted - estimate))^T d estimate / d noisy`. All candidates in one backward pass."""
        if not bool(self._mask.any()):
            return plain(noisy, timestep)
        with torch.inference_mode(False), torch.enable_grad():
            noisy = noisy.clone().requires_grad_()
            velocity = plain(noisy, timestep)
            estimate = noisy - sigma * velocity
            error = self._mask * (self._wanted - estimate.detach())
            (pull,) = torch.autograd.grad(estimate, noisy, error)
        return velocity.detach() - guidance_weight(sigma, self._strongest) * pull

    def frozen(self, chunks: Float[Tensor, "n ha da"]) -> Float[Tensor, "n ha da"]:
        """The chunks with the frozen steps as they will really be: guidance only comes close."""
        fixed = self._known[: self._num_frozen].expand(len(chunks), -1, -1)
        return torch.cat([fixed, chunks[:, self._num_frozen :]], dim=1)


def inpaint(solver: Solver, noise: Float[Tensor, "n ha da"], plain: Velocity, guidance: Inpainting) -> Float[Tensor, "n ha da"]:
    """Chunks from noise, as `tau0.flow.solve`, that begin with the prefix."""
    chunks = noise
    for i, timestep in enumerate(solver.schedule.timesteps.tolist()):
        chunks = solver.step(chunks, guidance.velocity(plain, chunks, timestep, float(solver.schedule.sigmas[i])), i)
    return guidance.frozen(chunks)


def differentiable(context: tuple[tuple[Tensor, Tensor], ...]) -> tuple[tuple[Tensor, Tensor], ...]:
    """Keys and values that were made in inference mode, such that a gradient may pass by them."""
    with torch.inference_mode(False):
        return tuple((keys.clone(), values.clone()) for keys, values in context)
