"""The training processes of one machine, and who listens to them."""

from __future__ import annotations

import signal
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Any

from tau0.checkpoint import Checkpoint, save
from tau0.interrupts import interrupts_ignored
from tau0.train.job import CHECKPOINT_FOLDER, Callbacks, Job, TrainingFailedError, open_source
from tau0.train.left_out import record_unseen
from tau0.train.lock import alone_in
from tau0.train.loop import Networks, Progress, train
from tau0.train.metrics import MetricsWriter
from tau0.train.parallel import join, leave
from tau0.train.parts import Place
from tau0.train.state import Average, saved_step

POLL_S = 0.2


def run_workers(job: Job, callbacks: Callbacks) -> None:
    """Starts the workers, passes on what rank 0 reports, and on Ctrl-C lets them save before raising again.

    Raises:
        KeyboardInterrupt: After everything was saved.
        TrainingFailedError: When a worker failed.
    """
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
    if kind == "note":
        callbacks.on_note(value)
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


def _train(place: Place, job: Job, reports: Queue[Any], replies: Queue[None], stop: Event) -> None:
    recipe, config = job.recipe, job.recipe.train
    source, checkpoint = open_source(job)
    networks = Networks(checkpoint.model, None if config.shared_trunk else checkpoint.simulator)
    with ExitStack() as held:
        metrics = None
        if place.rank == 0:
            held.enter_context(alone_in(job.out))
            metrics = held.enter_context(MetricsWriter(job.out, saved_step(job.out)))
        listener = _Reporter(job, checkpoint, metrics, reports, replies, stop)
        train(networks, source, config, recipe.sampling, job.out, job.fingerprint, place, listener)
    if recipe.pictures.read == "video":
        for sentence in record_unseen(job.out, source):
            reports.put(("note", sentence))


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
