"""What sixteen candidates with their consistency scores cost, as a multiple of one candidate without.

    python benchmarks/candidates.py [CHECKPOINT] [--rounds 30] [--threads 1]

All decide on the same observation, in turn; the ratio is taken within a round. The published score takes one noise at one level; a
checkpoint may take the mean over more. Wanted: sixteen for at most 3 times one, with the shipped checkpoint.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from timing import interleaved, machine, ratio, spread

from tau0.checkpoint import GateConfig, load
from tau0.contract import Observation
from tau0.plan.agent import PlanningAgent

SHIPPED = Path(__file__).parents[1] / "src" / "tau0" / "checkpoints" / "nano-metaworld"
CANDIDATES = (4, 16)


def main(folder: Path, rounds: int, threads: int, clock: Callable[[], float]) -> None:
    """Measures and prints one table."""
    torch.set_num_threads(threads)
    checkpoint = load(folder)
    observation = Observation.fake(checkpoint.config.embodiment)
    agents = {"1, no score": PlanningAgent(checkpoint, "single", 1)}
    gate = checkpoint.config.gate or GateConfig(threshold=0.0)
    once = replace(checkpoint, config=replace(checkpoint.config, gate=replace(gate, sigmas=gate.sigmas[:1], num_noises=1)))
    agents |= {f"{n}, scored with one noise": PlanningAgent(once, "rcs", n) for n in CANDIDATES}
    own = len(gate.sigmas) * gate.num_noises
    if own > 1:
        agents |= {f"{n}, scored with the checkpoint's {own}": PlanningAgent(checkpoint, "rcs", n) for n in CANDIDATES}
    for agent in agents.values():
        agent.reset(0)
    seconds = interleaved(
        {name: lambda agent=agent: agent.decide(observation) for name, agent in agents.items()}, rounds, warm_up=3, clock=clock
    )
    one = seconds["1, no score"]
    table = Table(title=f"one query of {checkpoint.config.name}, {machine()}")
    for name in ("candidates", "milliseconds, median (5th to 95th percentile)", "multiple of one candidate"):
        table.add_column(name, justify="right")
    for name, taken in seconds.items():
        table.add_row(name, str(spread([1000 * s for s in taken])), str(ratio(taken, one)))
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processor-time", action="store_true", help="count this process's work alone: for a machine that is not idle")
    given = parser.parse_args()
    clock = time.process_time if given.processor_time else time.perf_counter
    main(given.checkpoint, given.rounds, given.threads, clock)
