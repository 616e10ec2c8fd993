"""Stage two: the world model on cached latents. One process of possibly several."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from tau0.checkpoint import SamplingConfig
from tau0.data.index import Stream
from tau0.model.world_model import WorldModel
from tau0.train.config import TrainConfig
from tau0.train.objective import drop_captions, policy_losses, simulator_losses
from tau0.train.parallel import average_gradients, has_fast_bfloat16, share_of
from tau0.train.source import TrainingSource
from tau0.train.state import Average, Position, load_state, save_state


class NonFiniteLossError(ArithmeticError):
    """A loss or a gradient that is not a number; the message names the step and the terms."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is reported after a step: averages over workers."""

    step: int
    fraction: float
    seconds: float
    losses: dict[str, float] = field(default_factory=dict)
    gradient_norm: float = 0.0
    learning_rate: float = 0.0


class Listener(Protocol):
    """Who is told, in rank 0. Returning True stops the run after its state is saved."""

    def on_step(self, progress: Progress) -> bool:
        """After every step."""
        ...

    def on_checkpoint(self, networks: Networks, average: Average, progress: Progress) -> None:
        """After every resumable checkpoint, and at the end."""
        ...


class Networks(nn.Module):
    """What is trained: one model for both interfaces, or one for each."""

    def __init__(self, model: WorldModel, simulator: WorldModel | None) -> None:
        super().__init__()
        self.model = model
        self.own_simulator = simulator

    @property
    def simulator(self) -> WorldModel:
        """Who simulates: the policy's own model, or the second one."""
        return self.model if self.own_simulator is None else self.own_simulator


@dataclass(frozen=True, kw_only=True)
class Place:
    """This process among its peers."""

    rank: int = 0
    world: int = 1


def train(
    networks: Networks,
    source: TrainingSource,
    config: TrainConfig,
    sampling: SamplingConfig,
    folder: Path,
    recipe: str,
    place: Place,
    listener: Listener,
) -> Average:
    """Trains until the time or the steps are used up, going on from the folder's state if there is one.

    Returns:
        The averaged weights.

    Raises:
        NonFiniteLossError: When a loss or a gradient is not finite; the last saved state stays.
    """
    optimiser = make_optimiser(networks, config)
    average = Average(networks, config.ema_decay)
    at = load_state(folder, networks, average, optimiser, recipe) or Position(step=0, seconds=0.0, recipe=recipe)
    step, seconds, fraction = at.step, at.seconds, _fraction(config, at.step, at.seconds)
    if place.rank == 0 and fraction >= 1.0:
        listener.on_checkpoint(networks, average, Progress(step=step, fraction=fraction, seconds=seconds))
    saved_at = seconds
    parameters = [p for p in networks.parameters() if p.requires_grad]
    networks.train()
    mark = time.monotonic()
    while fraction < 1.0:
        rate = _set_rate(optimiser, config, step, fraction)
        losses = accumulate_gradients(networks, source, config, sampling, step, place)
        now = time.monotonic()
        seconds, mark = seconds + now - mark, now
        numbers = average_gradients(parameters, [*map(float, losses.values()), seconds])
        terms, seconds = dict(zip(losses, numbers, strict=False)), numbers[-1]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip))
        _check_finite(step, {**terms, "gradient norm": norm})
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(networks, step)
        step, fraction = step + 1, _fraction(config, step + 1, seconds)
        progress = Progress(step=step, fraction=fraction, seconds=seconds, losses=terms, gradient_norm=norm, learning_rate=rate)
        is_stopping = _report(place, listener, progress)
        if is_stopping or fraction >= 1.0 or seconds - saved_at > 60 * config.checkpoint_minutes:
            if place.rank == 0:
                save_state(folder, networks, average, optimiser, Position(step=step, seconds=seconds, recipe=recipe))
                listener.on_checkpoint(networks, average, progress)
            average_gradients([], [0.0])  # all wait for rank 0, and none counts the time
            saved_at, mark = seconds, time.monotonic()
        if is_stopping:
            break
    return average


def _check_finite(step: int, numbers: dict[str, float]) -> None:
    if not all(map(math.isfinite, numbers.values())):
        raise NonFiniteLossError(f"step {step}: {numbers} are not finite; the state of the last checkpoint is intact")


def _report(place: Place, listener: Listener, progress: Progress) -> bool:
    """Tells rank 0's listener; every rank learns whether to stop."""
    wants_stop = float(listener.on_step(progress)) if place.rank == 0 else 0.0
    if place.world == 1:
        return wants_stop > 0
    return average_gradients([], [wants_stop])[0] > 0


def accumulate_gradients(
    networks: Networks, source: TrainingSource, config: TrainConfig, sampling: SamplingConfig, step: int, place: Place
) -> dict[str, Tensor]:
    """Both objectives on this worker's share of the batch; gradients add up in the parameters. Returns the unweighted terms."""
    generator = torch.Generator().manual_seed((config.seed * 1_000_003 + step) * 256 + place.rank)
    sizes: dict[Stream, int] = {"policy": config.policy_batch, "simulator": config.simulator_batch}
    terms: dict[str, Tensor] = {}
    with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16("cpu")):
        for stream, size in sizes.items():
            if size == 0:
                continue
            batch = source.batch(stream, step, share_of(size, place.rank, place.world))
            batch = drop_captions(batch, config.caption_dropout, generator)
            if stream == "policy":
                losses = policy_losses(networks.model, batch, config, sampling, generator)
            else:
                losses = simulator_losses(networks.simulator, batch, config, sampling, generator)
            total = torch.stack([getattr(config.loss, name) * loss for name, loss in losses.items()]).sum()
            total.backward()
            terms |= {name: loss.detach() for name, loss in losses.items()}
    return terms


def make_optimiser(networks: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices alone."""
    matrices = [p for p in networks.parameters() if p.ndim >= 2]
    others = [p for p in networks.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)


def _fraction(config: TrainConfig, step: int, seconds: float) -> float:
    """How much of the run is done, in time or in steps, whichever is further."""
    by_steps = 0.0 if config.max_steps is None else step / config.max_steps
    return max(by_steps, seconds / (60 * config.minutes))


def _set_rate(optimiser: torch.optim.Optimizer, config: TrainConfig, step: int, fraction: float) -> float:
    """Linear warm-up, then half a cosine down to 2% of the peak."""
    rate = (
        config.learning_rate
        * min(1.0, (step + 1) / config.warmup_steps)
        * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(fraction, 1.0))))
    )
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate
