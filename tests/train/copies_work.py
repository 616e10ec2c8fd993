"""What the processes of the tests of agreement and of copies do."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import sharded_work
from safetensors.torch import save_file
from sharded_work import CONFIG, whole

from tau0.train.config import TrainConfig
from tau0.train.loop import Progress
from tau0.train.mesh import Launch, joined
from tau0.train.sharded import train_sharded
from tau0.train.sharding import ShardingConfig

STOPPED_AT = 2


def train_copies(launch: Launch, folder: Path, shard_over: int | None, config: TrainConfig = CONFIG, stop_at: int | None = None) -> None:
    """Trains in `folder` all steps, or until a signal stops it after `stop_at`; the first process writes `result.safetensors`."""

    def on_step(progress: Progress) -> None:
        (folder / "steps").write_text(str(progress.step))
        if progress.step + 1 == stop_at:  # the processes tell each other in the step that follows
            signal.raise_signal(signal.SIGTERM)

    with joined(launch):
        work = sharded_work.job(launch, folder, config, ShardingConfig(bfloat16=False, shard_over=shard_over))
        average, _ = train_sharded(work, on_step)
        result = {f"weights.{name}": whole(p.detach()) for name, p in work.networks.named_parameters()}
        result |= {f"average.{name}": whole(p) for name, p in average.tensors.items()}
    if launch.rank == 0:
        save_file(result, folder / "result.safetensors")


def launch_and_wait(launch: Launch, folder: Path) -> None:
    """Starts a process that trains until it is asked to stop, and waits for it, as torchrun does."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    signal.alarm(120)  # ends it in any case
    with suppress(BaseException):
        train_copies(launch, folder, None, replace(CONFIG, max_steps=10**6))
    os._exit(0)


def go_on_where_folders_differ(launch: Launch, folder: Path, saved: Path) -> None:
    """Goes on from `saved`, of which the second process sees a newer checkpoint that the first does not see yet."""
    seen = folder / "seen" / str(launch.rank)
    shutil.copytree(saved / "shards", seen / "shards")
    if launch.rank > 0:
        newer = seen / "shards" / "step-00000099"
        shutil.copytree(next((seen / "shards").iterdir()), newer)
        position = json.loads((newer / "position.json").read_text())
        (newer / "position.json").write_text(json.dumps(position | {"step": 99}))
    with joined(launch):
        work = sharded_work.job(launch, seen, replace(CONFIG, max_steps=STOPPED_AT))
        _, progress = train_sharded(work)
    (folder / f"step-{launch.rank}").write_text(str(progress.step))
