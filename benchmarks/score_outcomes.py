"""What a way of choosing among candidates is worth, and what a score knows of bad decisions: by what really happened after each.

    tau0 evaluate CHECKPOINT --modes rcs --first-seed 200 --episodes 20 --outcomes --out runs/tried.jsonl
    python benchmarks/score_outcomes.py runs/tried-traces [--checkpoint CHECKPOINT] [--recorded absolute]

At every decision of such rollouts all candidates were tried in the physics and the world's expert went on from there. Printed is, task by
task, how many control steps sooner than from the average candidate the expert succeeds from the chosen one (differences of more than 30
from the median count as 30), where the candidates differ at all; then, for scores whose errors are divided by powers of the motion, how
well the chosen candidate's score tells chunks that were wasted from chunks that were not. Power 0 is the published score, 2 the relative
one. For robots that are commanded by steps. Intervals draw episodes again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tau0.checkpoint import CheckpointConfig
from tau0.evaluate.statistics import Interval, auroc, clustered_interval
from tau0.evaluate.trace import EpisodeTrace, read_traces
from tau0.plan.spec import read_config

SHIPPED = Path(__file__).parents[1] / "src" / "tau0" / "checkpoints" / "nano-metaworld"
WORST, POWERS = 30.0, (0, 1, 2, 3)
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One decision whose candidates were all tried.

    Attributes:
        task: Its task.
        episode: Number of its episode.
        errors: Absolute error of each candidate, shape (n,).
        motion: Of each candidate, in deviations, over the steps that would be executed, shape (n,).
        chunks: Normalised, shape (n, ha, da).
        outcomes: Control steps until the expert succeeds after each candidate, shape (n,).
        before: The same without any; infinite where the expert could not succeed.
        steps: That would be executed.
    """

    task: str
    episode: int
    errors: Numbers
    motion: Numbers
    chunks: Numbers
    outcomes: Numbers
    before: float
    steps: int


Way = Callable[[Tried], int]


def main(traces: Path, checkpoint: Path, recorded: str) -> None:
    """Reads the rollouts and prints two tables."""
    config, console = read_config(checkpoint), Console()
    tried = [one for i, trace in enumerate(read_traces(traces)) for one in _tried(trace, i, config, recorded)]
    ways: dict[str, Way] = {
        "the first": lambda _one: 0,
        "the medoid": _medoid,
        "the one that moves most": lambda one: int(one.motion.argmax()),
    }
    ways |= {f"least error / motion^{power}": lambda one, power=power: int(_relative(one, power).argmin()) for power in POWERS}
    tasks = list(dict.fromkeys(one.task for one in tried))
    table = Table(title=f"control steps gained over the average candidate, {traces}")
    for name in ("way of choosing", *tasks, "all"):
        table.add_column(name, justify="left" if name.startswith("way") else "right")
    for name, way in ways.items():
        table.add_row(name, *(_gain([one for one in tried if one.task == task], way) for task in tasks), _gain(tried, way))
    console.print(table)
    judged = [one for one in tried if math.isfinite(one.before)]
    console.print(f"{len(judged)} decisions from which the expert succeeds; AUROC of the best score for chunks that were not wasted:")
    for power in POWERS:
        console.print(f"  error / motion^{power}: {_knowledge(judged, power)}", highlight=False)


def _tried(trace: EpisodeTrace, episode: int, config: CheckpointConfig, recorded: str) -> list[Tried]:
    found, arms = list[Tried](), [i for i in range(config.embodiment.action.dim) if i not in config.embodiment.action.gripper]
    mean, std = np.array(config.codec.action.mean), np.array(config.codec.action.std) + 1e-6
    for decision in trace.decisions:
        rows = decision.proposals
        if rows.outcomes is None or rows.scores is None or decision.expert_steps is None:
            continue
        steps = len(decision.chunk)
        motion = np.sqrt(np.square(rows.actions[:, :steps, arms] / std[arms]).mean(axis=(1, 2)))
        errors = -rows.scores.astype(np.float64)
        if recorded == "relative":
            errors = motion**2 * errors / (1 - errors)
        chunks = (rows.actions - mean) / std
        one = Tried(
            task=trace.task, episode=episode, errors=errors, motion=motion, chunks=chunks,
            outcomes=rows.outcomes.astype(np.float64), before=decision.expert_steps, steps=steps,
        )  # fmt: skip
        found.append(one)
    return found


def _relative(one: Tried, power: int) -> Numbers:
    return one.errors / np.maximum(one.motion, 1e-6) ** power


def _medoid(one: Tried) -> int:
    flat = one.chunks.reshape(len(one.chunks), -1)
    return int(np.linalg.norm(flat[:, None] - flat[None], axis=2).sum(axis=1).argmin())


def _gain(tried: list[Tried], way: Way) -> str:
    differing = [one for one in tried if np.isfinite(one.outcomes).all() and np.ptp(one.outcomes) > 0]
    if not differing:
        return "all alike"
    values = []
    for one in differing:
        saved = np.clip(np.median(one.outcomes) - one.outcomes, -WORST, WORST)
        values.append(saved[way(one)] - saved.mean())
    return _said(_over_episodes(np.array(values), differing), "+.2f")


def _over_episodes(values: Numbers, tried: list[Tried]) -> Interval:
    return clustered_interval(lambda rows: float(values[rows].mean()), [one.episode for one in tried], np.random.default_rng(0))


def _knowledge(tried: list[Tried], power: int) -> str:
    best = [(one, int(_relative(one, power).argmin())) for one in tried]
    scores = np.array([-_relative(one, power)[k] for one, k in best])
    is_good = np.array([one.outcomes[k] - one.steps < one.before for one, k in best])
    if is_good.all() or not is_good.any():
        return "no chunk was wasted" if is_good.all() else "every chunk was wasted"

    def known(rows: NDArray[np.intp]) -> float:
        return math.nan if is_good[rows].all() or not is_good[rows].any() else auroc(scores[rows], is_good[rows])

    found = clustered_interval(known, [one.episode for one in tried], np.random.default_rng(0))
    return f"{_said(found, '.2f')}, {(~is_good).mean():.1%} wasted"


def _said(interval: Interval, form: str) -> str:
    return f"{interval.estimate:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--recorded", choices=("absolute", "relative"), default="absolute")
    options = parser.parse_args()
    main(options.traces, options.checkpoint, options.recorded)
