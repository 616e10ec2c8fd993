"""A whole training run on the processes that torchrun started: the stages of `run.py`, the world model spread over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from tau0.checkpoint import Checkpoint, save
from tau0.checkpoint import fingerprint as checkpoint_fingerprint
from tau0.model.world_model import WorldModel
from tau0.train.agreement import first_says
from tau0.train.job import CHECKPOINT_FOLDER, Callbacks, Job, RunPlan, open_source
from tau0.train.left_out import record_unseen
from tau0.train.lock import alone_in
from tau0.train.loop import Networks, Progress
from tau0.train.lora import LoraConfig, add_adapters, merged
from tau0.train.mesh import Launch, joined, make_mesh, mesh_device
from tau0.train.metrics import MetricsWriter
from tau0.train.parallel import first_does, is_first
from tau0.train.parts import Place
from tau0.train.run import prepare
from tau0.train.sharded import ShardedJob, train_sharded
from tau0.train.sharding import ShardingConfig, shard
from tau0.train.shards import POSITION, latest_shards
from tau0.train.state import Average, read_position
from tau0.train.weights_in import check_start, fill


@dataclass(frozen=True, kw_only=True)
class ShardedRun:
    """What a run on many processes needs beyond a recipe.

    Attributes:
        sharding: How the model is spread.
        start: A checkpoint whose weights training starts from, such as `tau0 convert` writes; None for fresh ones.
        lora: Adapters to train instead of the weights themselves.
        wandb_project: Where Weights & Biases shall show the run too.
    """

    sharding: ShardingConfig = field(default_factory=ShardingConfig)
    start: Path | None = None
    lora: LoraConfig | None = None
    wandb_project: str | None = None

    def described(self) -> dict[str, Any]:
        """As JSON where training starts and what is trained, which makes it another run; not how it is spread."""
        start = {} if self.start is None else {"start": checkpoint_fingerprint(self.start)}
        return start | ({} if self.lora is None else {"lora": asdict(self.lora)})


def run_sharded(plan: RunPlan, launch: Launch, run: ShardedRun, callbacks: Callbacks) -> Path:
    """Trains, or goes on training, in the folder of the plan, which all processes see. Returns the folder of the checkpoint.

    Only the first process's callbacks are told anything.

    Raises:
        CheckpointError: When the folder holds another run, another one is training in it, or the checkpoint to start from does not fit.
        ContractError: When a dataset is not what its description says, or does not fit the recipe.
        KeyboardInterrupt: When a signal asked to stop, after everything was saved.
        NonFiniteLossError: See `train_sharded`.
        OSError: When something cannot be written; the last saved state stays.
    """
    with joined(launch), ExitStack() as held:
        first_does(lambda: held.enter_context(alone_in(plan.out)))
        job, out = first_says(lambda: prepare(plan, callbacks, run.described())), plan.out
        device = f"cuda:{launch.local_rank}" if torch.cuda.is_available() else "cpu"
        source, checkpoint = open_source(job, is_empty=run.start is not None, device=device)
        sharded = _sharded_job(job, checkpoint, run, launch, source)
        writer = MetricsWriter(out, _saved_step(out), run.wandb_project) if launch.rank == 0 else nullcontext()
        with writer as metrics:
            average, progress = train_sharded(sharded, lambda step: _report(step, metrics, callbacks))
        if job.recipe.pictures.read == "video":
            said = record_unseen(out, source)
            for sentence in said if launch.rank == 0 else ():
                callbacks.on_note(sentence)
        _export(checkpoint, sharded.networks, average, run.lora, progress, out / CHECKPOINT_FOLDER)
        if progress.fraction < 1:
            raise KeyboardInterrupt
        first_does(lambda: callbacks.on_checkpoint(out / CHECKPOINT_FOLDER, progress.fraction))
    return out / CHECKPOINT_FOLDER


def _sharded_job(job: Job, checkpoint: Checkpoint, run: ShardedRun, launch: Launch, source: Any) -> ShardedJob:
    """The model on all processes, with its first weights."""
    mesh, config = make_mesh(run.sharding.shard_over), job.recipe.train
    if run.start is None:
        networks = Networks(checkpoint.model, None if config.shared_trunk else checkpoint.simulator)
    else:
        check_start(run.start, checkpoint.config)
        networks = _shells(checkpoint)
    if run.lora is not None:
        add_adapters(networks, run.lora)
    shard(networks, mesh, run.sharding)
    if run.start is not None:
        fill(networks, run.start, mesh_device(mesh), config.seed)
    return ShardedJob(
        networks=networks,
        source=source,
        config=config,
        sampling=job.recipe.sampling,
        sharding=run.sharding,
        folder=job.out,
        recipe=job.fingerprint,
        place=Place(rank=launch.rank, world=launch.world),
        mesh=mesh,
    )


def _shells(checkpoint: Checkpoint) -> Networks:
    """Networks of the checkpoint's shape without memory."""
    config = checkpoint.config
    with torch.device("meta"):
        return Networks(WorldModel(config.model), None if config.simulator is None else WorldModel(config.simulator))


def _report(progress: Progress, metrics: Any, callbacks: Callbacks) -> None:
    metrics.write(progress)
    callbacks.on_step(progress)


def _saved_step(out: Path) -> int:
    newest = latest_shards(out)
    return 0 if newest is None else read_position(newest / POSITION).step


def _export(
    checkpoint: Checkpoint, networks: Networks, average: Average, lora: LoraConfig | None, progress: Progress, folder: Path
) -> None:
    """The averaged weights as a checkpoint folder, gathered tensor by tensor into the first process."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in networks.named_parameters():
        tensor = average.tensors.get(name, parameter.detach())
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_first():
            tensors[name] = whole.cpu()
    first_does(lambda: _save(checkpoint, merged(tensors, lora), progress, folder))


def _save(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], progress: Progress, folder: Path) -> None:
    shells = _shells(checkpoint)
    shells.load_state_dict(dict(tensors), assign=True)
    provenance = {**checkpoint.config.provenance, "steps": str(progress.step), "training_seconds": f"{progress.seconds:.0f}"}
    config = replace(checkpoint.config, provenance=provenance)
    save(replace(checkpoint, config=config, model=shells.model, simulator=shells.simulator), folder)
