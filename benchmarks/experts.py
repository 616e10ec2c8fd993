"""How often the scripted experts solve their tasks, undisturbed and under the collector's disturbances. Physics alone, nothing is drawn.

    python benchmarks/experts.py [two-arm | demo | TASK ...] [--seeds 20] [--first-seed 0] [--disturbed]

Wanted of the two-arm experts: at least 90% of at least 100 seeds, within 300 control steps.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table
from timing import machine

from tau0.collect.behaviours import expert, recovering
from tau0.collect.episode import Script, rehearse
from tau0.evaluate.statistics import wilson_interval
from tau0.worlds.protocol import World
from tau0.worlds.registry import SUITES, make_world

MAX_STEPS = 300


def main(tasks: list[str], seeds: range, is_disturbed: bool) -> None:
    """Measures and prints one table."""
    console, how = Console(width=120), "disturbed" if is_disturbed else "undisturbed"
    table = Table(title=f"experts, {how}, seeds {seeds[0]} to {seeds[-1]}, at most {MAX_STEPS} steps, {machine()}")
    for name in ("task", "solved", "95% interval (Wilson)", "steps, median (least to most)", "failed with seeds"):
        table.add_column(name)
    for task in tasks:
        try:
            world = make_world(task)
        except ModuleNotFoundError as error:
            table.add_row(task, f"not measured: {error.name} is not installed")
            continue
        scripts = []
        for seed in seeds:
            scripts.append(played(world, seed, is_disturbed))
            solved = sum(script.succeeds for script in scripts)
            console.print(f"{task} seed {seed}: {solved} of {len(scripts)}, {len(scripts[-1])} steps", style="dim")
        table.add_row(task, *row(scripts))
    console.print(table)


def played(world: World, seed: int, is_disturbed: bool) -> Script:
    """One episode from a seed; the disturbances depend on it as well."""
    hands = len(world.embodiment.action.gripper)
    behaviour = recovering(np.random.default_rng([seed, 1]), hands=hands) if is_disturbed else expert()
    return rehearse(world, seed, behaviour, MAX_STEPS)


def row(scripts: list[Script]) -> tuple[str, str, str, str]:
    """What the table says of one task."""
    steps = sorted(script.solved_at for script in scripts if script.succeeds)
    rate = wilson_interval(len(steps), len(scripts))
    lengths = f"{int(np.median(steps))} ({steps[0]} to {steps[-1]})" if steps else ""
    failed = [str(script.seed) for script in scripts if not script.succeeds]
    return f"{len(steps)} of {len(scripts)}", f"{rate.low:.3f} to {rate.high:.3f}", lengths, " ".join(failed) or "none"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["two-arm"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--disturbed", action="store_true")
    arguments = parser.parse_args()
    main(
        [task for name in arguments.tasks for task in SUITES.get(name, (name,))],
        range(arguments.first_seed, arguments.first_seed + arguments.seeds),
        arguments.disturbed,
    )
