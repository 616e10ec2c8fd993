"""A whole training run in one folder: autoencoder, latents, world model, checkpoint. Every stage is skipped when it is done."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from tau0.actions import ActionCodec
from tau0.checkpoint import Checkpoint, CheckpointConfig, SamplingConfig, build, save
from tau0.contract import Embodiment
from tau0.data.episodes import Dataset
from tau0.data.index import SamplingSpec
from tau0.data.windows import WindowSpec
from tau0.folders import recover_files
from tau0.interrupts import interrupts_ignored
from tau0.model.autoencoder import AutoencoderConfig
from tau0.model.config import WorldModelConfig
from tau0.model.text import CachedText, SentenceEncoder
from tau0.train.config import TrainConfig
from tau0.train.latents import encode_dataset
from tau0.train.loop import Networks, Progress, train
from tau0.train.metrics import MetricsWriter
from tau0.train.parallel import join, leave
from tau0.train.parts import Place
from tau0.train.source import TrainingSource, fit_codec
from tau0.train.stage_one import AutoencoderRecipe, load_autoencoder, ready_autoencoder
from tau0.train.state import Average, saved_step

CHECKPOINT_FOLDER, AUTOENCODER_FOLDER = "checkpoint", "autoencoder"
POLL_S = 0.2


class TrainingFailedError(RuntimeError):
    """A training process ended before its work was done; the message holds its error."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what comes out."""

    name: str
    embodiment: Embodiment
    model: WorldModelConfig
    autoencoder: AutoencoderConfig
    train: TrainConfig
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def fingerprint(self, dataset: Dataset) -> str:
        """Changes with anything that would make resuming wrong; not with how long, how often or with how many workers."""
        free: dict[str, Any] = {"minutes": 0.0, "max_steps": None, "checkpoint_minutes": 0.0, "workers": 0, "on_non_finite": "stop"}
        free |= {"evaluate_minutes": 0.0, "evaluate_episodes": 0}
        fixed = replace(self, train=replace(self.train, **free))
        return hashlib.sha256(f"{json.dumps(asdict(fixed), sort_keys=True)} {dataset.num_rows}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """How a run is watched. `on_checkpoint` gets the folder of a complete checkpoint and the share of the run done."""

    on_stage: Callable[[str, float, str], None] = lambda _stage, _fraction, _text: None
    on_step: Callable[[Progress], None] = lambda _progress: None
    on_checkpoint: Callable[[Path, float], None] = lambda _folder, _fraction: None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ready to train its world model: autoencoder and latents are there."""

    recipe: Recipe
    data: Path
    out: Path
    codec: ActionCodec
    fingerprint: str
    provenance: dict[str, str]


def run(
    recipe: Recipe,
    data: Path,
    out: Path,
    callbacks: Callbacks,
    provenance: dict[str, str] | None = None,
    autoencoder_from: Path | None = None,
) -> Path:
    """Trains, or goes on training, in the folder `out`. Returns the folder of the checkpoint.

    Args:
        recipe: What to train.
        data: Folder of the dataset.
        out: Folder of the run.
        callbacks: Who watches.
        provenance: What the checkpoint says about its making.
        autoencoder_from: A folder with an autoencoder to use instead of training one.

    Raises:
        CheckpointError: When the run's autoencoder was made otherwise, or the given one does not fit.
        ContractError: When the dataset does not fit the recipe's embodiment.
        TrainingFailedError: When a worker failed.
        KeyboardInterrupt: After everything was saved.
    """
    _run_workers(prepare(recipe, data, out, callbacks, provenance, autoencoder_from), callbacks)
    return out / CHECKPOINT_FOLDER


def prepare(
    recipe: Recipe,
    data: Path,
    out: Path,
    callbacks: Callbacks,
    provenance: dict[str, str] | None = None,
    autoencoder_from: Path | None = None,
) -> Job:
    """Everything before the world model: autoencoder and latents, what is there already not again. Arguments and errors as `run`."""
    out.mkdir(parents=True, exist_ok=True)
    recover_files(out / CHECKPOINT_FOLDER)
    dataset = Dataset.open(data)
    dataset.check_against(recipe.embodiment)
    cameras = [camera.name for camera in recipe.embodiment.cameras]
    stage_one = AutoencoderRecipe(config=recipe.autoencoder, training=recipe.train.autoencoder, cameras=cameras, seed=recipe.train.seed)
    autoencoder = ready_autoencoder(
        stage_one, dataset, out / AUTOENCODER_FOLDER, recipe.train.workers, autoencoder_from,
        lambda fraction, loss: callbacks.on_stage("autoencoder", fraction, f"loss {loss:.4f}"),
    )  # fmt: skip
    try:
        encode_dataset(
            dataset, autoencoder, cameras, recipe.train.workers,
            lambda done, total: callbacks.on_stage("latents", done / total, f"{done} of {total} episodes"),
        )  # fmt: skip
    except BrokenProcessPool:
        message = "a process that encodes pictures was killed (out of memory?); the same command goes on, with fewer workers it needs less"
        raise TrainingFailedError(message) from None
    return Job(
        recipe=recipe, data=data, out=out, codec=fit_codec(dataset),
        fingerprint=recipe.fingerprint(dataset), provenance=provenance or {},
    )  # fmt: skip


def _run_workers(job: Job, callbacks: Callbacks) -> None:
    """Starts the workers, passes on what rank 0 reports, and on Ctrl-C lets them save before raising again."""
    context = get_context("spawn")
    reports, replies, stop = context.Queue(), context.Queue(), context.Event()
    rendezvous = (job.out / ".rendezvous").absolute()
    rendezvous.unlink(missing_ok=True)
    world = job.recipe.train.workers
    workers = [
        context.Process(target=_work, args=(Place(rank=r, world=world), job, rendezvous, reports, replies, stop)) for r in range(world)
    ]
    with interrupts_ignored():
        for worker in workers:
            worker.start()
    interrupted = False
    try:
        while True:
            try:
                if not _listen(workers, reports, replies, callbacks):
                    break
            except KeyboardInterrupt:
                interrupted = True
                stop.set()
                callbacks = replace(callbacks, on_checkpoint=Callbacks().on_checkpoint)
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=60)
            worker.kill()
        rendezvous.unlink(missing_ok=True)
    if interrupted:
        raise KeyboardInterrupt


def _listen(workers: list[Any], reports: Queue[tuple[str, Any]], replies: Queue[None], callbacks: Callbacks) -> bool:
    """Handles one report. False when training is over."""
    try:
        kind, value = reports.get(timeout=POLL_S)
    except Empty:
        failed = [worker.exitcode for worker in workers if worker.exitcode]
        if failed:
            raise TrainingFailedError(f"a training process ended with exit code {failed[0]} (killed, or out of memory?)") from None
        return True
    if kind == "error":
        raise TrainingFailedError(value)
    if kind == "step":
        callbacks.on_step(value)
    if kind == "checkpoint":
        try:
            callbacks.on_checkpoint(*value)
        finally:
            replies.put(None)
    return kind != "done"


def _work(place: Place, job: Job, rendezvous: Path, reports: Queue[Any], replies: Queue[None], stop: Event) -> None:
    """One training process. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        join(place.rank, place.world, rendezvous)
        _train(place, job, reports, replies, stop)
        if place.rank == 0:
            reports.put(("done", None))
    except Exception as error:
        reports.put(("error", f"{type(error).__name__}: {error}"))
    finally:
        leave()


def open_source(job: Job) -> tuple[TrainingSource, Checkpoint]:
    """The samples of a job, and its checkpoint with fresh networks, which are the same on every process."""
    recipe, config = job.recipe, job.recipe.train
    dataset = Dataset.open(job.data)
    autoencoder = load_autoencoder(recipe.autoencoder, job.out / AUTOENCODER_FOLDER)
    latents = encode_dataset(dataset, autoencoder, [c.name for c in recipe.embodiment.cameras], 1)
    window = WindowSpec(
        action_horizon=recipe.embodiment.action_horizon,
        frame_stride=recipe.embodiment.frame_stride,
        num_future=recipe.sampling.num_future,
        num_memory=recipe.sampling.num_memory,
    )
    sampling = SamplingSpec(policy_batch=config.policy_batch, simulator_batch=config.simulator_batch, seed=config.seed)
    text = CachedText(SentenceEncoder(recipe.model.trunk.text_length))
    source = TrainingSource(dataset, latents, job.codec, text, window, sampling)
    torch.manual_seed(config.seed)
    checkpoint = build(checkpoint_config(job, text.identity))
    checkpoint.autoencoder.load_state_dict(autoencoder.state_dict())
    return source, checkpoint


def _train(place: Place, job: Job, reports: Queue[Any], replies: Queue[None], stop: Event) -> None:
    recipe, config = job.recipe, job.recipe.train
    source, checkpoint = open_source(job)
    networks = Networks(checkpoint.model, None if config.shared_trunk else checkpoint.simulator)
    writer = MetricsWriter(job.out, saved_step(job.out)) if place.rank == 0 else nullcontext()
    with writer as metrics:
        listener = _Reporter(job, checkpoint, metrics, reports, replies, stop)
        train(networks, source, config, recipe.sampling, job.out, job.fingerprint, place, listener)


def checkpoint_config(job: Job, text: str) -> CheckpointConfig:
    """What the checkpoint says about itself. With two models, each carries only its own parts."""
    recipe = job.recipe
    shared = recipe.train.shared_trunk
    return CheckpointConfig(
        name=recipe.name,
        embodiment=recipe.embodiment,
        codec=job.codec,
        model=recipe.model if shared else replace(recipe.model, conditioning=None, progress=None),
        simulator=None if shared else replace(recipe.model, action=None),
        autoencoder=recipe.autoencoder,
        text=text,
        sampling=recipe.sampling,
        provenance=job.provenance,
    )


class _Reporter:
    """Rank 0's listener: metrics to disk, progress to the parent, checkpoints from the averaged weights."""

    def __init__(self, job: Job, checkpoint: Checkpoint, metrics: Any, reports: Queue[Any], replies: Queue[None], stop: Event) -> None:
        self._job, self._checkpoint, self._metrics = job, checkpoint, metrics
        self._reports, self._replies, self._stop = reports, replies, stop

    @property
    def _is_stopping(self) -> bool:
        """Whether the parent wants to stop, or is gone: then nobody could stop this process later."""
        parent = parent_process()
        return self._stop.is_set() or (parent is not None and not parent.is_alive())

    def on_step(self, progress: Progress) -> bool:
        """Passes on the progress. True when it is time to stop."""
        self._metrics.write(progress)
        self._reports.put(("step", progress))
        return self._is_stopping

    def on_checkpoint(self, networks: Networks, average: Average, progress: Progress) -> None:
        """Writes the averaged weights as a checkpoint folder, and waits while the parent looks at it."""
        current = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
        networks.load_state_dict(average.tensors)
        config = self._checkpoint.config
        provenance = {**config.provenance, "steps": str(progress.step), "training_seconds": f"{progress.seconds:.0f}"}
        folder = self._job.out / CHECKPOINT_FOLDER
        save(replace(self._checkpoint, config=replace(config, provenance=provenance)), folder)
        networks.load_state_dict(current)
        was_seen = self._is_stopping
        if not was_seen:
            self._reports.put(("checkpoint", (folder, progress.fraction)))
        while not was_seen and not self._is_stopping:
            with suppress(Empty):
                self._replies.get(timeout=POLL_S)
                was_seen = True
