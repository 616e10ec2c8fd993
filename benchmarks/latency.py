"""How long one decision takes, by mode and number of candidates, on one thread.

    python benchmarks/latency.py [CHECKPOINT]

Prints medians and the 5th and 95th percentile over repeated queries of one random observation, with a gate that always fails in mode
"full", so that every stage runs.
"""

from __future__ import annotations

import math
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tau0.checkpoint import load
from tau0.contract import Observation
from tau0.plan.agent import PlanningAgent

REPEATS, WARM_UP = 30, 3
SETTINGS = (("single", 1), ("rcs", 4), ("rcs", 8), ("rcs", 16), ("full", 4), ("full", 8))
STAGES = ("encode", "propose", "score", "simulate", "revise", "total")


def main(folder: Path) -> None:
    """Measures and prints one table."""
    torch.set_num_threads(1)
    checkpoint = load(folder)
    observation = Observation.fake(checkpoint.config.embodiment)
    table = Table(
        title=f"milliseconds a decision, median (5th to 95th percentile), {platform.processor() or platform.machine()}, one thread"
    )
    for name in ("mode", "candidates", *STAGES):
        table.add_column(name, justify="right")
    for mode, candidates in SETTINGS:
        agent = PlanningAgent(checkpoint, mode, candidates, gate_threshold=math.inf)
        agent.reset(0)
        taken = [agent.decide(observation).milliseconds for _ in range(WARM_UP + REPEATS)][WARM_UP:]
        cells = [_cell([ms[stage] for ms in taken if stage in ms]) for stage in STAGES]
        table.add_row(mode, str(candidates), *cells)
    Console(width=160).print(table)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("src/tau0/checkpoints/nano-metaworld"))
