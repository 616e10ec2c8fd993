"""Stage two: the world model on cached latents. One process of possibly several."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from tau0.data.index import Stream
from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.finite import FiniteGuard, NonFiniteLossError
from tau0.train.meter import Meter
from tau0.train.objective import SampleErrors, stream_errors, weighted_sum
from tau0.train.optimiser import make_optimiser
from tau0.train.parallel import average_gradients, has_fast_bfloat16
from tau0.train.parts import Place, batch_sizes, count_kept, parts_of
from tau0.train.source import TrainingSource
from tau0.train.state import Average, Position, load_state, save_state
from tau0.train.tally import Tally

__all__ = ["Listener", "Networks", "NonFiniteLossError", "Progress", "train"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is reported after a step, over all processes.

    Attributes:
        step: Steps taken.
        fraction: Share of the run done.
        seconds: Training time spent.
        losses: By term.
        by_source: By term and kind of episode, "action/demonstration".
        gradient_norm: Before clipping.
        learning_rate: Of this step.
        rates: Samples and tokens a second, waiting for data, memory, utilisation; see `Meter`.
        skipped: Steps left out so far because their numbers were not finite.
    """

    step: int
    fraction: float
    seconds: float
    losses: dict[str, float] = field(default_factory=dict)
    by_source: dict[str, float] = field(default_factory=dict)
    gradient_norm: float = 0.0
    learning_rate: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    skipped: int = 0


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

    def forward(self, stream: Stream, batch: Batch, config: TrainConfig, sampling: SamplingConfig, draws: Draws) -> dict[str, SampleErrors]:
        """Errors of a batch of the stream, by term."""
        return stream_errors(stream, self.by_stream()[stream], batch, config, sampling, draws)

    def by_stream(self) -> dict[Stream, WorldModel]:
        """Which model learns from which stream."""
        return {"policy": self.model, "simulator": self.simulator}


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
        NonFiniteLossError: When a loss or a gradient is not finite, and the config does not say to skip; the last saved state stays.
    """
    optimiser = make_optimiser(networks, config)
    average = Average(networks, config.ema_decay)
    at = load_state(folder, networks, average, optimiser, recipe) or Position(step=0, seconds=0.0, recipe=recipe)
    step, seconds, fraction = at.step, at.seconds, fraction_done(config, at.step, at.seconds)
    if place.rank == 0 and fraction >= 1.0:
        listener.on_checkpoint(networks, average, Progress(step=step, fraction=fraction, seconds=seconds))
    saved_at = seconds
    guard, meter = FiniteGuard(config, folder), Meter(networks.by_stream(), config, sampling, torch.device("cpu"), place.world)
    parameters = [p for p in networks.parameters() if p.requires_grad]
    networks.train()
    mark = time.monotonic()
    while fraction < 1.0:
        rate = set_rate(optimiser, config, step, fraction)
        tally = accumulate_gradients(networks, source, config, sampling, step, place, meter)
        now = time.monotonic()
        seconds, mark, taken = seconds + now - mark, now, now - mark
        *numbers, seconds = average_gradients(parameters, [*tally.numbers(), seconds])
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip))
        terms = tally.losses(numbers)
        if guard.passes(step, {**terms, "gradient norm": norm}, tally.culprits):
            optimiser.step()
            average.update(networks, step)
        optimiser.zero_grad(set_to_none=True)
        step, fraction = step + 1, fraction_done(config, step + 1, seconds)
        progress = Progress(
            step=step, fraction=fraction, seconds=seconds, losses=terms, by_source=tally.by_source(numbers), gradient_norm=norm,
            learning_rate=rate, rates=meter.rates(taken), skipped=guard.skipped,
        )  # fmt: skip
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


def _report(place: Place, listener: Listener, progress: Progress) -> bool:
    """Tells rank 0's listener; every rank learns whether to stop."""
    wants_stop = float(listener.on_step(progress)) if place.rank == 0 else 0.0
    if place.world == 1:
        return wants_stop > 0
    return average_gradients([], [wants_stop])[0] > 0


def accumulate_gradients(
    networks: Networks, source: TrainingSource, config: TrainConfig, sampling: SamplingConfig, step: int, place: Place, meter: Meter
) -> Tally:
    """Both objectives on this worker's share of the batch; gradients add up in the parameters. Returns the errors."""
    tally, sizes = Tally(source), batch_sizes(config)
    with meter.waiting():
        parts = list(parts_of(source, config, step, place))
    kept = count_kept(parts)
    for part in parts:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16("cpu")):
            errors = networks(part.stream, part.batch, config, sampling, part.draws)
            loss = place.world * weighted_sum(errors, config, kept)  # gradients of all processes are averaged
        loss.backward()
        tally.add(part.stream, part.rows, errors)
        meter.saw(part.stream, part.batch, sizes[part.stream])
    return tally


def fraction_done(config: TrainConfig, step: int, seconds: float) -> float:
    """How much of the run is done, in time or in steps, whichever is further."""
    by_steps = 0.0 if config.max_steps is None else step / config.max_steps
    return max(by_steps, seconds / (60 * config.minutes))


def set_rate(optimiser: torch.optim.Optimizer, config: TrainConfig, step: int, fraction: float) -> float:
    """Linear warm-up, then half a cosine down to 2% of the peak."""
    rate = (
        config.learning_rate
        * min(1.0, (step + 1) / config.warmup_steps)
        * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(fraction, 1.0))))
    )
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate
