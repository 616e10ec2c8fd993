"""Stage two on many processes: the loop of `loop.py` for a model that is spread over them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from tau0.model.config import SamplingConfig
from tau0.train.config import TrainConfig
from tau0.train.feed import Feed
from tau0.train.finite import FiniteGuard
from tau0.train.loop import Networks, Progress, fraction_done, set_rate
from tau0.train.mesh import mesh_device
from tau0.train.meter import Meter
from tau0.train.objective import weighted_sum
from tau0.train.parallel import average_gradients
from tau0.train.parts import Place, batch_sizes, count_kept
from tau0.train.sharding import ShardingConfig, clip_gradients, replicated_parameters
from tau0.train.shards import load_shards, save_shards, start_moments
from tau0.train.source import TrainingSource
from tau0.train.state import Average, Position
from tau0.train.tally import Tally


@dataclass(frozen=True, kw_only=True)
class ShardedJob:
    """Everything that one process of a run works with.

    Attributes:
        networks: Spread over the mesh by `shard`.
        source: Samples.
        config: How to train.
        sampling: Levels and frames.
        sharding: How the model was spread.
        folder: Of the run, the same for all processes.
        recipe: Fingerprint: shards of another one are refused.
        place: This process.
        mesh: Of all processes.
    """

    networks: Networks
    source: TrainingSource
    config: TrainConfig
    sampling: SamplingConfig
    sharding: ShardingConfig
    folder: Path
    recipe: str
    place: Place
    mesh: DeviceMesh


def train_sharded(job: ShardedJob, on_step: Callable[[Progress], None] = lambda _progress: None) -> tuple[Average, Progress]:
    """Trains until the time or the steps are used up, or a signal asks to stop, going on from the folder's shards if there are some.

    Args:
        job: What to train.
        on_step: Is told after every step, in the first process.

    Returns:
        The averaged weights, sharded, and how far it came.

    Raises:
        CheckpointError: When the folder's shards belong to another recipe.
        NonFiniteLossError: When a loss or a gradient is not finite, and the config does not say to skip; the last saved state stays.
        OSError: When the state cannot be written; the last saved state stays.
        ValueError: When the batches are too small for so many processes.
    """
    training = _Training(job)
    with Feed(job.source, job.config, job.place, job.sharding.micro_batches) as feed, _stop_signals() as stop:
        while training.fraction < 1.0 and not training.is_stopping:
            progress = training.step(feed, stop)
            if job.place.rank == 0:
                on_step(progress)
            training.save_when_due()
    return training.average, training.progress


class _Training:
    """The moving parts of a run."""

    def __init__(self, job: ShardedJob) -> None:
        networks, config = job.networks, job.config
        self._job, self._device = job, mesh_device(job.mesh)
        self._optimiser, self.average = make_sharded_optimiser(networks, config), Average(networks, config.ema_decay)
        found = load_shards(job.folder, networks, self.average, self._optimiser, job.recipe)
        self._at = found or Position(step=0, seconds=0.0, recipe=job.recipe)
        self._saved_at, self.is_stopping = self._at.seconds, False
        self._trained = [p for p in networks.parameters() if p.requires_grad]
        whole = replicated_parameters(networks)
        self._whole = [p for p in self._trained if p in whole]
        self._guard = FiniteGuard(config, job.folder)
        self._meter = Meter(networks.by_stream(), config, job.sampling, self._device, job.place.world)
        self.progress = Progress(step=self._at.step, fraction=self.fraction, seconds=self._at.seconds)
        networks.train()

    @property
    def fraction(self) -> float:
        """How much of the run is done."""
        return fraction_done(self._job.config, self._at.step, self._at.seconds)

    def step(self, feed: Feed, stop: list[int]) -> Progress:
        """One step, or one that is skipped because its numbers are not finite."""
        config, step, began = self._job.config, self._at.step, time.monotonic()
        rate = set_rate(self._optimiser, config, step, self.fraction)
        tally = self._backward(feed, step)
        *numbers, wants_stop = average_gradients(self._whole, [*tally.numbers(), float(bool(stop))])
        norm, losses = clip_gradients(self._trained, config.gradient_clip, self._job.mesh), tally.losses(numbers)
        if self._guard.passes(step, {**losses, "gradient norm": norm}, tally.culprits):
            self._optimiser.step()
            self.average.update(self._job.networks, step)
        self._optimiser.zero_grad(set_to_none=True)
        taken = average_gradients([], [time.monotonic() - began])[0]
        self._at = Position(step=step + 1, seconds=self._at.seconds + taken, recipe=self._job.recipe)
        self.is_stopping = wants_stop > 0
        self.progress = Progress(
            step=step + 1, fraction=self.fraction, seconds=self._at.seconds, losses=losses, by_source=tally.by_source(numbers),
            gradient_norm=norm, learning_rate=rate, rates=self._meter.rates(taken), skipped=self._guard.skipped,
        )  # fmt: skip
        return self.progress

    def save_when_due(self) -> None:
        """Writes the state now and then, and before the run ends."""
        is_due = self._at.seconds - self._saved_at > 60 * self._job.config.checkpoint_minutes
        if is_due or self.is_stopping or self.fraction >= 1.0:
            save_shards(self._job.folder, self._job.networks, self.average, self._optimiser, self._at)
            self._saved_at = self._at.seconds

    def _backward(self, feed: Feed, step: int) -> Tally:
        """All parts of this process's batch, one after another; gradients add up in the parameters."""
        job, tally, sizes, kind = self._job, Tally(self._job.source), batch_sizes(self._job.config), self._device.type
        with self._meter.waiting():
            parts = feed.take(step)
        kept = count_kept(parts)
        for part in parts:
            batch = part.batch.to(self._device)
            with torch.autocast(kind, torch.bfloat16, enabled=job.sharding.uses_bfloat16(kind)):
                errors = job.networks(part.stream, batch, job.config, job.sampling, part.draws)
                loss = job.place.world * weighted_sum(errors, job.config, kept)  # gradients of all processes are averaged
            loss.backward()
            tally.add(part.stream, part.rows, errors)
            self._meter.saw(part.stream, batch, sizes[part.stream])
        return tally


def make_sharded_optimiser(networks: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW on what is trained, weight decay on matrices alone; sharded and whole parameters are in groups of their own."""
    whole = replicated_parameters(networks)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in networks.parameters():
        if p.requires_grad:
            groups.setdefault((p in whole, p.ndim >= 2), []).append(p)
    listed = [{"params": ps, "weight_decay": config.weight_decay if decays else 0.0} for (_, decays), ps in groups.items()]
    optimiser = torch.optim.AdamW(listed, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    start_moments(optimiser)
    return optimiser


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that is filled when SIGINT or SIGTERM asks this process to stop, so that it stops between two steps."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: received.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
