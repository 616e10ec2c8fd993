"""The processes that torchrun started, and the mesh that they form: the same code on CPUs (gloo) and on GPUs (nccl)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tau0.train.parallel import LONGEST_WAIT

SHARD, REPLICATE = "shard", "replicate"
WATCH_S = 0.5


class LaunchError(ValueError):
    """Processes that cannot train together as asked; the message says what would."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """This process among those that torchrun started.

    Attributes:
        rank: Of this process, from 0.
        world: How many there are.
        local_rank: Among those of this machine: the number of its GPU.
    """

    rank: int
    world: int
    local_rank: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Launch | None:
        """What torchrun says; None where this process was started in another way."""
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
            return None
        rank = int(environment["RANK"])
        return cls(rank=rank, world=int(environment["WORLD_SIZE"]), local_rank=int(environment.get("LOCAL_RANK", rank)))


def mesh_shape(world: int, shard_over: int | None) -> dict[str, int]:
    """Sizes of the mesh by name: copies of the model, where there are several, and the processes that share one.

    Raises:
        LaunchError: When `shard_over` does not divide the number of processes.
    """
    size = world if shard_over is None else shard_over
    if size < 1 or world % size:
        choices = [n for n in range(1, world + 1) if world % n == 0]
        raise LaunchError(f"{world} processes cannot be shared out by {size} a copy of the model: choose one of {choices}")
    return {SHARD: size} if size == world else {REPLICATE: world // size, SHARD: size}


@contextmanager
def joined(launch: Launch) -> Iterator[None]:
    """Enters the group of all processes, and leaves it at the end.

    Numbers and checkpoints' plans travel by gloo also where gradients travel by nccl. A launcher that is killed cannot stop its processes,
    which would train on beside those of the next launch: they get SIGTERM, as from a launcher that is asked to stop.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(launch.local_rank)
        backends = "cpu:gloo,cuda:nccl"
    else:
        torch.set_num_threads(1)
        backends = "gloo"
    dist.init_process_group(backends, rank=launch.rank, world_size=launch.world, timeout=LONGEST_WAIT)
    left = Event()
    Thread(target=_watch_launcher, args=(os.getppid(), left), daemon=True).start()
    try:
        yield
    finally:
        left.set()
        dist.destroy_process_group()


def _watch_launcher(launcher: int, left: Event) -> None:
    """Asks this process to stop when its parent is no longer `launcher`."""
    while not left.wait(WATCH_S):
        if os.getppid() != launcher:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def make_mesh(shard_over: int | None = None) -> DeviceMesh:
    """The mesh of all processes of the group, on GPUs where there are some. Raises `LaunchError` as `mesh_shape`."""
    shape = mesh_shape(dist.get_world_size(), shard_over)
    return init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", tuple(shape.values()), mesh_dim_names=tuple(shape))


def mesh_device(mesh: DeviceMesh) -> torch.device:
    """The device of this process."""
    return torch.device(mesh.device_type, torch.cuda.current_device()) if mesh.device_type == "cuda" else torch.device("cpu")
