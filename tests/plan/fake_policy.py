"""A policy and a simulator whose every answer is written by the test."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tau0.policy.policy import ActionVelocity
from tau0.tensors import Conditioning, Futures, Proposals

HORIZON, DIM = 9, 2


def conditioning() -> Conditioning:
    return Conditioning(
        current=torch.zeros(1, 1, 1, 2, 2), memory=torch.zeros(1, 1, 0, 2, 2), text=torch.zeros(1, 1, 1), state=torch.zeros(1, DIM)
    )


@dataclass
class FakePolicy:
    """Proposes chunks of noise. `errors[r]` are the errors of round r's velocities, so the scores are minus their squares."""

    errors: list[list[float]]
    rounds: int = 0
    futures: list[Tensor | None] = field(default_factory=list)
    sigmas: list[float] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)

    def propose(
        self,
        conditioning: Conditioning,
        num_candidates: int,
        generator: torch.Generator,
        future: Tensor | None = None,
        future_sigma: float = 1.0,
        num_steps: int | None = None,
    ) -> Proposals:
        self.steps.append(num_steps)
        self.futures.append(future)
        self.sigmas.append(future_sigma)
        actions = torch.stack([torch.randn(HORIZON, DIM, generator=generator) for _ in range(num_candidates)])
        self.rounds += 1
        return Proposals(actions=actions, keys_values=(), state=conditioning.state)

    def velocity(self, proposals: Proposals) -> ActionVelocity:
        error = torch.tensor(self.errors[self.rounds - 1]).reshape(-1, 1, 1)
        clean = proposals.actions
        return lambda noisy, sigma: (noisy - (1 - sigma) * clean) / sigma - clean + error


@dataclass
class FakeSimulator:
    """Gives round r's candidates the progress curves `progress[r]`, and remembers what it was asked."""

    progress: list[list[list[float]]]
    asked: list[Tensor] = field(default_factory=list)
    noises: list[Tensor] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)

    def imagine(self, conditioning: Conditioning, actions: Tensor, generator: torch.Generator, num_steps: int | None = None) -> Futures:
        self.steps.append(num_steps)
        self.asked.append(actions)
        self.noises.append(torch.randn(3, generator=generator))
        progress = torch.tensor(self.progress[len(self.asked) - 1])[: len(actions)]
        latents = torch.arange(len(actions)).float().reshape(-1, 1, 1, 1, 1).expand(-1, *conditioning.current.shape[1:])
        return Futures(latents=latents, progress=progress, partial=latents + 100, partial_sigma=0.2)


def curve(top: float, at: int) -> list[float]:
    """Progress of -1 that rises to `top` at one step."""
    return [top if step == at else -1.0 for step in range(HORIZON)]
