"""How often the scripted experts solve their tasks, undisturbed and under the collector's disturbances. Physics alone, nothing is drawn.

    python benchmarks/experts.py [two-arm | demo | mt50 | .. | TASK ...] [--seeds 20] [--first-seed 0] [--disturbed] [--max-steps 300]
                                 [--out experts.jsonl]

With --out every episode is one JSON line; those that the file holds are not played again. Wanted of the two-arm experts: at least 90% of
at least 100 seeds, within 300 control steps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from timing import machine

from tau0.collect.behaviours import expert, recovering
from tau0.collect.episode import rehearse
from tau0.evaluate.statistics import wilson_interval
from tau0.worlds.protocol import World
from tau0.worlds.registry import SUITES, make_world

MAX_STEPS = 300


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        seeds: Of the initial states.
        is_disturbed: Whether the collector's disturbances are on.
        max_steps: Control steps after which an episode has failed.
        out: JSON lines to go on with; None keeps nothing.
    """

    seeds: range
    is_disturbed: bool = False
    max_steps: int = MAX_STEPS
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Played:
    """One episode of one expert.

    Attributes:
        task: Of any suite.
        seed: Of the initial state and of the disturbances.
        is_disturbed: Whether it was disturbed.
        max_steps: Control steps that were allowed.
        solved_at: Control steps until it was solved; None where it was not.
    """

    task: str
    seed: int
    is_disturbed: bool
    max_steps: int
    solved_at: int | None


def main(tasks: Sequence[str], plan: Plan) -> None:
    """Measures what is missing and prints one table."""
    console, how, together = Console(width=120), "disturbed" if plan.is_disturbed else "undisturbed", list[Played]()
    said = f"experts, {how}, seeds {plan.seeds[0]} to {plan.seeds[-1]}, at most {plan.max_steps} steps, {machine()}"
    table, known = Table(title=said), earlier(plan.out)
    for name in ("task", "solved", "95% interval (Wilson)", "steps, median (least to most)", "failed with seeds"):
        table.add_column(name)
    for task in tasks:
        episodes: list[Played] = []
        try:
            for episode in played(task, plan, known):
                episodes.append(episode)
                solved = sum(each.solved_at is not None for each in episodes)
                console.print(f"{task} seed {episode.seed}: {solved} of {len(episodes)}, {episode.solved_at} steps", style="dim")
        except ModuleNotFoundError as error:
            table.add_row(task, f"not measured: {error.name} is not installed")
            continue
        table.add_row(task, *row(episodes), end_section=task == tasks[-1])
        together += episodes
    if len(tasks) > 1 and together:
        table.add_row("all", *row(together)[:3])
    console.print(table)


def earlier(out: Path | None) -> frozenset[Played]:
    """Episodes that a file holds already; none where there is no file."""
    if out is None or not out.is_file():
        return frozenset()
    return frozenset(Played(**json.loads(line)) for line in out.read_text("utf-8").splitlines())


def played(task: str, plan: Plan, known: frozenset[Played]) -> Iterator[Played]:
    """An episode from every seed, out of what is known or played now and added to the file."""
    mine = {e.seed: e for e in known if (e.task, e.is_disturbed, e.max_steps) == (task, plan.is_disturbed, plan.max_steps)}
    if set(plan.seeds) <= set(mine):
        yield from (mine[seed] for seed in plan.seeds)
        return
    with closing(make_world(task)) as world:
        for seed in plan.seeds:
            episode = mine.get(seed)
            if episode is None:
                episode = play(world, seed, plan)
                if plan.out is not None:
                    with plan.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(episode)) + "\n")
            yield episode


def play(world: World, seed: int, plan: Plan) -> Played:
    """One episode from a seed; the disturbances depend on it as well."""
    hands = len(world.embodiment.action.gripper)
    behaviour = recovering(np.random.default_rng([seed, 1]), hands=hands) if plan.is_disturbed else expert()
    script = rehearse(world, seed, behaviour, plan.max_steps)
    solved_at = script.solved_at if script.succeeds else None
    return Played(task=world.task, seed=seed, is_disturbed=plan.is_disturbed, max_steps=plan.max_steps, solved_at=solved_at)


def row(episodes: Sequence[Played]) -> tuple[str, str, str, str]:
    """What the table says of one task."""
    steps = sorted(episode.solved_at for episode in episodes if episode.solved_at is not None)
    rate = wilson_interval(len(steps), len(episodes))
    lengths = f"{int(np.median(steps))} ({steps[0]} to {steps[-1]})" if steps else ""
    failed = [str(episode.seed) for episode in episodes if episode.solved_at is None]
    return f"{len(steps)} of {len(episodes)}", f"{rate.low:.3f} to {rate.high:.3f}", lengths, " ".join(failed) or "none"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["two-arm"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--disturbed", action="store_true")
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    asked = Plan(seeds=seeds, is_disturbed=given.disturbed, max_steps=given.max_steps, out=given.out)
    main([task for name in given.tasks for task in SUITES.get(name, (name,))], asked)
