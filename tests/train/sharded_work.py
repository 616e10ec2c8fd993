"""What the processes of the tests do: train a model of one layer, sharded, and write down what came out."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from fake_source import NUM_MEMORY, fake_batch, fake_source
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.train import shards
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.finite import NonFiniteLossError
from tau0.train.loop import Networks, Progress
from tau0.train.loop import train as train_alone
from tau0.train.mesh import Launch, joined, make_mesh
from tau0.train.objective import weighted_sum
from tau0.train.parallel import local
from tau0.train.parts import Place
from tau0.train.shard_files import part_name
from tau0.train.sharded import ShardedJob, train_sharded
from tau0.train.sharding import ShardingConfig, shard
from tau0.train.state import Average
from tiny import MODEL

ONE_LAYER = replace(MODEL, trunk=replace(MODEL.trunk, num_layers=1))
SAMPLING = SamplingConfig(num_memory=NUM_MEMORY)
CONFIG = TrainConfig(
    minutes=1e6, checkpoint_minutes=1e6, max_steps=5, policy_batch=4, simulator_batch=4, action_draws=1, warmup_steps=2, learning_rate=3e-3
)
EVERY_STEP = replace(CONFIG, checkpoint_minutes=0.0)
FLOAT32 = ShardingConfig(bfloat16=False)
VARIANTS = {
    "float32": FLOAT32,
    "bfloat16": ShardingConfig(bfloat16=True),
    "copies": ShardingConfig(bfloat16=False, shard_over=1, keep_gathered=True, recompute=False),
}


def networks() -> Networks:
    """The same on every process; every weight random."""
    torch.manual_seed(0)
    model = WorldModel(ONE_LAYER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return Networks(model, None)


def whole(tensor: Tensor) -> Tensor:
    """All of it, on every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def job(launch: Launch, folder: Path, config: TrainConfig, sharding: ShardingConfig = FLOAT32) -> ShardedJob:
    """Training on made-up samples."""
    nets, mesh = networks(), make_mesh(sharding.shard_over)
    shard(nets, mesh, sharding)
    place = Place(rank=launch.rank, world=launch.world)
    return ShardedJob(
        networks=nets, source=fake_source(config), config=config, sampling=SAMPLING, sharding=sharding, folder=folder, recipe="a",
        place=place, mesh=mesh,
    )  # fmt: skip


def train(launch: Launch, folder: Path, config: TrainConfig = CONFIG, pause_s: float = 0.0) -> None:
    """Trains in `folder`; the first process writes `result.safetensors` and a line a step to `steps.jsonl`."""

    def on_step(progress: Progress) -> None:
        with (folder / "steps.jsonl").open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
        time.sleep(pause_s)

    with joined(launch):
        work = job(launch, folder, config)
        average, _ = train_sharded(work, on_step)
        result = {f"weights.{name}": whole(p.detach()) for name, p in work.networks.named_parameters()}
        result |= {f"average.{name}": whole(p) for name, p in average.tensors.items()}
        held = [*(p.detach() for p in work.networks.parameters()), *average.tensors.values()]
        (folder / f"held-{launch.rank}").write_text(str(sum(local(tensor).nbytes for tensor in held)))
    if launch.rank == 0:
        save_file(result, folder / "result.safetensors")


def train_onto_full_disks(launch: Launch, folder: Path) -> None:
    """Two steps; then the second process's file of step 3 is /dev/full, where no space is left; then files may not grow beyond 8 KiB."""

    def limit(progress: Progress) -> None:
        if progress.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))

    def start_on_full_disk(draft: Path) -> None:
        start(draft)
        if draft.name.endswith("3"):
            (draft / part_name(1)).symlink_to("/dev/full")

    with joined(launch):
        start, shards._start_draft = shards._start_draft, start_on_full_disk
        refusals = [_refusal(job(launch, folder, EVERY_STEP))]
        shards._start_draft = start
        refusals.append(_refusal(job(launch, folder, EVERY_STEP), limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (folder / f"refusals-{launch.rank}.json").write_text(json.dumps(refusals))


def _refusal(work: ShardedJob, on_step: Callable[[Progress], None] = lambda _progress: None) -> tuple[int | None, str]:
    try:
        train_sharded(work, on_step)
    except OSError as error:
        return error.errno, str(error.filename)
    return None, ""


class _Limiter:
    """Files may not grow beyond 8 KiB after the second step."""

    def on_step(self, progress: Progress) -> bool:
        if progress.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        return False

    def on_checkpoint(self, networks: Networks, average: Average, progress: Progress) -> None:
        del networks, average, progress


def train_alone_onto_a_full_disk(_launch: Launch, folder: Path) -> None:
    """The ordinary loop of one process."""
    said = ""
    try:
        train_alone(networks(), fake_source(EVERY_STEP), EVERY_STEP, SAMPLING, folder, "a", Place(), _Limiter())
    except (OSError, SafetensorError) as error:
        said = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (folder / "said").write_text(said)


def train_on_poison(launch: Launch, folder: Path) -> None:
    """One sample of the third step is not a number: first that stops the run, then it is skipped."""
    with joined(launch):
        work = job(launch, folder, EVERY_STEP)
        work.source.poisoned = {("simulator", 2, 3)}  # pyright: ignore[reportAttributeAccessIssue]
        try:
            train_sharded(work)
        except NonFiniteLossError as error:
            (folder / f"stopped-{launch.rank}").write_text(str(error))
        seen: list[tuple[int, int]] = []
        again = job(launch, folder, replace(CONFIG, on_non_finite="skip"))
        train_sharded(replace(again, source=work.source), lambda progress: seen.append((progress.step, progress.skipped)))
        if launch.rank == 0:
            (folder / "seen.json").write_text(json.dumps(seen))


def compare_gradients(launch: Launch, folder: Path) -> None:
    """Gradients of sharded models against those of the same model on one process: the largest difference of each variant."""
    differences = {}
    with joined(launch):
        for name, sharding in VARIANTS.items():
            alone, spread = networks(), networks()
            shard(spread, make_mesh(sharding.shard_over), sharding)
            for nets in (alone, spread):
                _backward(nets, is_bfloat16=sharding.uses_bfloat16("cpu"))
            differences[name] = _largest_difference(alone, spread)
    if launch.rank == 0:
        (folder / "differences.json").write_text(json.dumps(differences))


def _backward(nets: Networks, *, is_bfloat16: bool) -> None:
    config = TrainConfig(action_draws=2)
    for stream in ("policy", "simulator"):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            errors = nets(stream, fake_batch(2), config, SAMPLING, Draws.of((5,), range(2)))
            loss = weighted_sum(errors, config)
        loss.backward()


def _largest_difference(alone: nn.Module, spread: nn.Module) -> float:
    others = dict(spread.named_parameters())
    largest = 0.0
    for name, p in alone.named_parameters():
        theirs = others[name].grad
        assert p.grad is not None, name
        assert theirs is not None, name
        largest = max(largest, float((whole(theirs) - p.grad).abs().max() / p.grad.abs().max().clamp(min=1e-12)))
    return largest


if __name__ == "__main__":
    from_torchrun = Launch.from_environment()
    assert from_torchrun is not None
    train(from_torchrun, Path(os.environ["TAU0_TEST_FOLDER"]))
