"""Flow matching: noise levels, noising, and the two solvers. Knows no network.

One convention, written once: `sigma` in [0, 1] and **1 is noise**. `x_sigma = (1 - sigma) x + sigma eps`, and a network
predicts the velocity `v = eps - x`. It is told `timestep = 1000 sigma`. See SPEC.md section 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

NUM_TRAIN_LEVELS = 1000
TIMESTEP_SCALE = 1000.0
WHOLE_WITHIN = 1e-6

Level = TypeVar("Level", float, Tensor)


def shift(level: Level, k: float) -> Level:
    """`k u / (1 + (k - 1) u)`: moves levels toward noise for k > 1, keeping 0 and 1."""
    return k * level / (1 + (k - 1) * level)


def add_noise(x: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"], sigma: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """`(1 - sigma) x + sigma eps`. `sigma` broadcasts against `x`."""
    return (1 - sigma) * x + sigma * noise


def velocity_target(x: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`eps - x`, what the network learns to predict."""
    return noise - x


def training_levels(index: Int[Tensor, "*n"], k: float, *, first: float) -> Float[Tensor, "*n"]:
    """Levels of the published grid of 1000, after the shift.

    Args:
        index: Places on the grid, 0 to 999, 0 the noisiest; to be drawn uniformly.
        k: Shift: 5 for video, 1 for actions and progress.
        first: Highest unshifted level: 0.999 for video (down to 0), 1 for actions and progress (down to 0.001).
    """
    return shift((first - index.double() / NUM_TRAIN_LEVELS).clamp(min=0.0), k).float()


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The levels a solver visits.

    Attributes:
        sigmas: n + 1 levels in float64, the last one 0.
        timesteps: What the network is told at each of the n steps.
    """

    sigmas: Float[Tensor, " n1"]
    timesteps: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.timesteps)


def euler_schedule(num_steps: int, k: float = 1.0) -> Schedule:
    """`sigma_i = shift(1 - i / n)`; the network is told the exact timestep."""
    sigmas = shift(1 - torch.arange(num_steps + 1, dtype=torch.float64) / num_steps, k)
    return Schedule(sigmas=sigmas, timesteps=(TIMESTEP_SCALE * sigmas[:-1]).float())


def unipc_schedule(num_steps: int, k: float = 1.0) -> Schedule:
    """`sigma_i = shift(0.999 (1 - i / n))`; the network is told `floor(1000 sigma)`, the solver keeps the exact sigma.

    Where 1000 sigma is a whole number, as 666 for n = 3 at shift 1, float64 may come out a little below it: that is not floored.
    """
    grid = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    sigmas = shift(0.999 * (1 - grid), k)
    return Schedule(sigmas=sigmas, timesteps=torch.floor(TIMESTEP_SCALE * sigmas[:-1] + WHOLE_WITHIN).float())


class Solver(Protocol):
    """One trajectory from noise to data, advanced a step at a time, so that two can run in lock-step."""

    schedule: Schedule

    def step(self, x: Tensor, velocity: Tensor, i: int) -> Tensor:
        """The state at `sigmas[i + 1]`, from the state and its velocity at `sigmas[i]`."""
        ...


class Euler:
    """`x += (sigma_{i+1} - sigma_i) v`."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def step(self, x: Tensor, velocity: Tensor, i: int) -> Tensor:
        """One Euler step."""
        sigmas = self.schedule.sigmas
        return x + float(sigmas[i + 1] - sigmas[i]) * velocity


class UniPC:
    """UniPC of order 2 with `B(h) = expm1(-h)`, predicting data (Zhao et al. 2023, in the form the published system samples with).

    The corrector re-does the last step with the newest prediction, on every step but the first. The predictor is of
    order 1 on the first and the last step.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._data: list[Tensor] = []
        self._last_x: Tensor | None = None
        self._last_order = 1

    def step(self, x: Tensor, velocity: Tensor, i: int) -> Tensor:
        """Corrects the state at `sigmas[i]` with the velocity found there, then predicts the state at `sigmas[i + 1]`."""
        data = x - float(self.schedule.sigmas[i]) * velocity
        if self._last_x is not None:
            x = self._correct(self._last_x, data, i)
        self._data = [*self._data[-1:], data]
        self._last_x = x
        is_edge = i == 0 or i == len(self.schedule) - 1
        self._last_order = 1 if is_edge else 2
        return self._predict(x, i)

    def _lambda(self, i: int) -> Tensor:
        sigma = self.schedule.sigmas[i]
        return torch.log1p(-sigma) - torch.log(sigma)

    def _predict(self, x: Tensor, i: int) -> Tensor:
        sigmas, newest = self.schedule.sigmas, self._data[-1]
        h = self._lambda(i + 1) - self._lambda(i)
        b = torch.expm1(-h)
        out = float(sigmas[i + 1] / sigmas[i]) * x - float((1 - sigmas[i + 1]) * b) * newest
        if self._last_order == 2:
            ratio = (self._lambda(i - 1) - self._lambda(i)) / h
            out = out - float((1 - sigmas[i + 1]) * b * 0.5 / ratio) * (self._data[-2] - newest)
        return out

    def _correct(self, last_x: Tensor, data: Tensor, i: int) -> Tensor:
        """The step `i - 1 -> i` again, now that the prediction at its end is known."""
        sigmas, before = self.schedule.sigmas, self._data[-1]
        h = self._lambda(i) - self._lambda(i - 1)
        b = torch.expm1(-h)
        residual = 0.5 * (data - before)
        if self._last_order == 2:
            ratio = (self._lambda(i - 2) - self._lambda(i - 1)) / h
            phi_2 = -b / h - 1
            phi_3 = -phi_2 / h - 0.5
            targets = torch.stack([phi_2 / b, 2 * phi_3 / b])
            rows = torch.stack([torch.ones(2, dtype=torch.float64), torch.stack([ratio, torch.ones_like(ratio)])])
            older, newer = torch.linalg.solve(rows, targets).tolist()
            residual = older / float(ratio) * (self._data[-2] - before) + newer * (data - before)
        return float(sigmas[i] / sigmas[i - 1]) * last_x - float((1 - sigmas[i]) * b) * (before + residual)


def solve(solver: Solver, x: Tensor, velocity: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Data from noise `x`: calls `velocity(x, timestep)` once for each step of the solver's schedule."""
    for i, timestep in enumerate(solver.schedule.timesteps):
        x = solver.step(x, velocity(x, timestep), i)
    return x
