"""Re-denoising Consistency: how well the model agrees with its own candidate (SPEC.md section 6, step 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from tau0.flow import add_noise, velocity_target
from tau0.policy.policy import ActionVelocity


def shared_noise(levels: int, num_noises: int, shape: tuple[int, int], generator: torch.Generator) -> Float[Tensor, "m ha da"]:
    """The noises of a score, `num_noises` for each level, one level after another. All candidates share them.

    They come in opposite pairs: what the error owes to the sign of the noise cancels in a pair. Two of a pair choose as well as four to
    eight independent ones do, at a fraction of the cost.
    """
    halves = torch.randn(levels, (num_noises + 1) // 2, *shape, generator=generator)
    return rearrange(torch.stack([halves, -halves], dim=2), "l k pair ha da -> l (k pair) ha da")[:, :num_noises].flatten(0, 1)


def redenoising_consistency(
    velocity: ActionVelocity,
    candidates: Float[Tensor, "n ha da"],
    noise: Float[Tensor, "m ha da"],
    sigmas: Sequence[float],
) -> Float[Tensor, " n"]:
    """`RCS_i = -mean (v_hat - (eps - a_i))^2` over levels, steps and dimensions, in normalised space. Higher is better.

    Args:
        velocity: The action expert: noisy chunks and a level to their velocities.
        candidates: Chunks in normalised units.
        noise: Shared by all candidates, so that they differ by themselves alone; see `shared_noise`.
        sigmas: The level of each noise; the published default is one noise at 0.6.
    """
    errors = [_errors(velocity, candidates, noise[list(rows)], sigmas[rows[0]]) for rows in _same_level(sigmas, len(noise))]
    return -torch.cat(errors).mean(dim=0)


def relative_to_motion(scores: Float[Tensor, " n"], motion: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """`-error / (error + motion^2)`, from -1 to 0: the score with the error relative to what each candidate does (ADR 0010).

    An absolute error is small where there is little to predict: it prefers, of several chunks, the one that does less, most of all where
    the robot rests at the wrong place. This ranks as `-error / motion^2` does, and is finite where nothing moves.

    Args:
        scores: Minus the absolute errors.
        motion: See `tau0.plan.motion.chunk_motion`.
    """
    return scores / (motion.square() - scores).clamp(min=torch.finfo(scores.dtype).tiny)


def _same_level(sigmas: Sequence[float], num_noises: int) -> list[list[int]]:
    """Which noises share a level. Raises `ValueError` unless there is one level for each noise."""
    if len(sigmas) != num_noises:
        raise ValueError(f"{num_noises} noises need as many levels, got {len(sigmas)}")
    return [[i for i, other in enumerate(sigmas) if other == sigma] for sigma in dict.fromkeys(sigmas)]


def _errors(
    velocity: ActionVelocity, candidates: Float[Tensor, "n ha da"], noise: Float[Tensor, "m ha da"], sigma: float
) -> Float[Tensor, "m n"]:
    """Mean squared errors of every candidate under every noise of one level, all in one call of the expert."""
    clean, eps = repeat(candidates, "n ha da -> m n ha da", m=len(noise)), repeat(noise, "m ha da -> m n ha da", n=len(candidates))
    noisy = add_noise(clean, eps, torch.tensor(sigma))
    predicted = rearrange(velocity(rearrange(noisy, "m n ha da -> (m n) ha da"), sigma), "(m n) ha da -> m n ha da", m=len(noise))
    return (predicted - velocity_target(clean, eps)).square().mean(dim=(2, 3))
