"""What the server adds to a decision, what a crowd does to it, and whether its memory grows. Loopback only.

    python benchmarks/serve.py [CHECKPOINT] [QUERIES]

The server is a process of its own, `tau0 serve` in mode "single". Direct calls and served ones take turns, so that a busy machine slows
both alike. A crowd of 1, 8 and 64 robots asks as fast as it is answered. Then one robot asks QUERIES times (1,000) without a reset, and the
server's resident memory is read on the way. With "tiny" as CHECKPOINT, a network of random weights, 10,000 queries take a few minutes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table
from timing import interleaved, machine, spread
from websockets.asyncio.client import connect

from tau0.checkpoint import Checkpoint, build, load, save
from tau0.contract import Observation
from tau0.plan.agent import PlanningAgent
from tau0.presets import preset
from tau0.serve import wire
from tau0.serve.client import Client
from tau0.serve.requests import plain_observation

SHIPPED = Path(__file__).parents[1] / "src/tau0/checkpoints/nano-metaworld"
ROUNDS, CROWDS, SECONDS = 200, (1, 8, 64), 10.0
MARKS = 10


def main(folder: Path, queries: int) -> None:
    """Measures and prints."""
    torch.set_num_threads(1)
    console, checkpoint = Console(width=150), load(folder)
    observation = replace(Observation.fake(checkpoint.config.embodiment), state=np.asarray(checkpoint.config.codec.state.mean, np.float32))
    with served(folder) as (address, process):
        overhead(console, checkpoint, observation, address)
        crowds(console, observation, address)
        found = memory(observation, address, process, queries)
    console.print(f"resident memory in MiB after each tenth of {queries} queries: {found}", highlight=False)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server's address and its process."""
    command = [sys.executable, "-m", "tau0", "serve", str(folder), "--port", "0", "--mode", "single", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().rsplit(" at ", 1)[1].strip(), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate()


def overhead(console: Console, checkpoint: Checkpoint, observation: Observation, address: str) -> None:
    """A direct call against a served one, in turns."""
    agent = PlanningAgent(checkpoint, "single", 1)
    with Client(address) as client:
        works = {"direct": lambda: agent.decide(observation), "served": lambda: client.decide(observation)}
        seconds = interleaved(works, ROUNDS, warm_up=5)
    table = Table(title=f"one robot, milliseconds: median (5th to 95th percentile). {machine()}")
    for name in ("call", "decision", "99th"):
        table.add_column(name)
    for name, taken in seconds.items():
        table.add_row(name, str(spread([1000 * s for s in taken])), f"{1000 * np.quantile(taken, 0.99):.3g}")
    added = [1000 * (served - direct) for direct, served in zip(seconds["direct"], seconds["served"], strict=True)]
    table.add_row("served minus direct, pair by pair", str(spread(added)), f"{np.quantile(added, 0.99):.3g}")
    console.print(table)


def crowds(console: Console, observation: Observation, address: str) -> None:
    """Answers a second, and how long they take, for crowds of several sizes."""
    table = Table(title=f"robots that ask as fast as they are answered, {SECONDS:g} s each")
    for name in ("robots", "answers a second", "refused", "ms, 50th", "ms, 99th", "most and fewest answers of a robot"):
        table.add_column(name, justify="right")
    for robots in CROWDS:
        taken, refused, counts = asyncio.run(crowd(address, wire.encode(plain_observation(observation, has_step=False)), robots))
        row = (len(taken) / SECONDS, refused, *(1000 * np.quantile(taken, [0.5, 0.99])))
        table.add_row(str(robots), f"{row[0]:.1f}", str(row[1]), f"{row[2]:.0f}", f"{row[3]:.0f}", f"{max(counts)} and {min(counts)}")
    console.print(table)


async def crowd(address: str, message: bytes, robots: int) -> tuple[list[float], int, list[int]]:
    """(seconds of all answers, refusals, answers of each robot)."""
    taken, refused, counts, ready = [], 0, [0] * robots, asyncio.Barrier(robots)

    async def robot(number: int) -> None:
        nonlocal refused
        async with connect(address, compression=None, proxy=None, open_timeout=60) as connection:
            await connection.recv()
            await connection.send(message)
            await connection.recv()
            await ready.wait()
            ends = time.perf_counter() + SECONDS
            while (asked := time.perf_counter()) < ends:
                await connection.send(message)
                if isinstance(await connection.recv(), str):
                    refused += 1
                    continue
                taken.append(time.perf_counter() - asked)
                counts[number] += 1

    await asyncio.gather(*(robot(number) for number in range(robots)))
    return taken, refused, counts


def memory(observation: Observation, address: str, process: psutil.Process, queries: int) -> list[float]:
    """Resident memory in MiB after each tenth of one robot's queries, in one long episode."""
    found = []
    with Client(address) as client:
        for number in range(queries):
            client.decide(replace(observation, step=number))
            if (number + 1) % max(1, queries // MARKS) == 0:
                found.append(round(process.memory_info().rss / 2**20, 1))
    return found


def tiny_folder(folder: Path) -> Path:
    """A checkpoint of the preset "tiny" with random weights, for the robot of the shipped one."""
    wanted, config = preset("tiny"), load(SHIPPED).config
    assert wanted.autoencoder is not None
    save(build(replace(config, name="tiny", model=wanted.model, autoencoder=wanted.autoencoder, gate=None)), folder / "tiny")
    return folder / "tiny"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        name = sys.argv[1] if len(sys.argv) > 1 else str(SHIPPED)
        main(tiny_folder(Path(temporary)) if name == "tiny" else Path(name), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
