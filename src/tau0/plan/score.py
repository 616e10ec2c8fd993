"""Re-denoising Consistency: how well the model agrees with its own candidate (SPEC.md section 6, step 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.flow import add_noise, velocity_target
from tau0.policy.policy import ActionVelocity


def redenoising_consistency(
    velocity: ActionVelocity,
    candidates: Float[Tensor, "n ha da"],
    noise: Float[Tensor, "levels ha da"],
    sigmas: Sequence[float],
) -> Float[Tensor, " n"]:
    """`RCS_i = -mean (v_hat - (eps - a_i))^2` over levels, steps and dimensions, in normalised space. Higher is better.

    Args:
        velocity: The action expert: noisy chunks and a level to their velocities.
        candidates: Chunks in normalised units.
        noise: One noise for each level, shared by all candidates, so that they differ by themselves alone.
        sigmas: The levels; the published default is one, 0.6.
    """
    errors = []
    for eps, sigma in zip(noise, sigmas, strict=True):
        noisy = add_noise(candidates, eps.expand_as(candidates), torch.tensor(sigma))
        errors.append((velocity(noisy, sigma) - velocity_target(candidates, eps)).square().mean(dim=(1, 2)))
    return -torch.stack(errors).mean(dim=0)
