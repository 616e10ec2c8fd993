"""What candidates, their consistency scores and the full loop cost, as multiples of one candidate without any of it.

    python benchmarks/candidates.py [CHECKPOINT] [--rounds 30] [--threads 1] [--processor-time]

All decide on the same observation, in turn; ratios are taken within a round. The published score takes one noise at one level; a
checkpoint may take the mean over more. The full loop runs with a gate that never passes, so that it simulates, revises and simulates again.
Wanted, with the shipped checkpoint: sixteen scored for at most 3 times one; of these at most 0.5 for the score, on top of proposing; the
full loop with four candidates at most 12. Last, from published episodes (nothing is simulated): which share of decisions the gate let
pass, and with --always, episodes of the same initial states with a gate that never passes, which share of the simulations it saved (wanted:
half, at equal success). Measure on an idle machine: the load is printed before and after.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from timing import Spread, interleaved, machine, ratio, spread

from tau0.checkpoint import GateConfig
from tau0.checkpoint import load as load_checkpoint
from tau0.contract import Observation
from tau0.evaluate.gate_savings import gate_savings
from tau0.evaluate.records import EpisodeRecord, read_records
from tau0.plan.agent import PlanningAgent

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SHIPPED = Path(__file__).parents[1] / "src" / "tau0" / "checkpoints" / "nano-metaworld"
CANDIDATES = (4, 16)
SCORED, LOOPED = 16, 4
LIMITS = {"the score": 0.5, "the full loop": 12.0}


def main(folder: Path, rounds: int, threads: int, clock: Callable[[], float]) -> None:
    """Measures and prints one table."""
    torch.set_num_threads(threads)
    load, checkpoint = os.getloadavg()[0], load_checkpoint(folder)
    observation = Observation.fake(checkpoint.config.embodiment)
    agents = {"1, no score": PlanningAgent(checkpoint, "single", 1)}
    gate = checkpoint.config.gate or GateConfig(threshold=0.0)
    once = replace(checkpoint, config=replace(checkpoint.config, gate=replace(gate, sigmas=gate.sigmas[:1], num_noises=1)))
    agents |= {_scored(n, 1): PlanningAgent(once, "rcs", n) for n in CANDIDATES}
    own = len(gate.sigmas) * gate.num_noises
    if own > 1:
        agents |= {_scored(n, own): PlanningAgent(checkpoint, "rcs", n) for n in CANDIDATES}
    agents |= {_proposed(SCORED): PlanningAgent(checkpoint, "random", SCORED)}
    agents |= {_looped(): PlanningAgent(checkpoint, "full", LOOPED, gate_threshold=math.inf)}
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
    console = Console(width=120)
    console.print(table)
    console.print(
        f"load of the last minute on {os.cpu_count()} processors: {load:.1f} before, {os.getloadavg()[0]:.1f} after", highlight=False
    )
    scored = _scored(SCORED, own)
    on_top = [a - b for a, b in zip(seconds[scored], seconds[_proposed(SCORED)], strict=True)]
    _say(console, "the score", f"of {SCORED} candidates on top of proposing them", ratio(on_top, one))
    _say(console, "the full loop", f"with {LOOPED} candidates, every gate closed", ratio(seconds[_looped()], one))


def _proposed(num: int) -> str:
    return f"{num}, no score"


def _scored(num: int, num_noises: int) -> str:
    return f"{num}, scored with one noise" if num_noises == 1 else f"{num}, scored with the checkpoint's {num_noises}"


def _looped() -> str:
    return f"{LOOPED}, full loop"


def gate(gated: Path, always: Path | None, mode: str = "full") -> None:
    """Prints what the gate saved in published episodes."""
    console, records = Console(width=120), _of_mode(gated, mode)
    decisions, passed = (sum(getattr(record.result, name) for record in records) for name in ("decisions", "gates_passed"))
    console.print(f"the gate let {passed} of {decisions} decisions pass, {passed / decisions:.0%} ({gated.name}, {mode})", highlight=False)
    if always is not None:
        found = gate_savings(records, _of_mode(always, mode))
        saved, difference = found.saved, found.comparison.difference
        gain = f"{100 * difference.estimate:+.1f} points [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
        share = f"{saved.estimate:.0%} [{saved.low:.0%}, {saved.high:.0%}]"
        console.print(f"it saved {share} of the simulations, at a success of {gain} against always simulating", highlight=False)


def _of_mode(path: Path, mode: str) -> list[EpisodeRecord]:
    return [record for record in read_records(path) if record.result.mode == mode]


def _say(console: Console, what: str, how: str, found: Spread) -> None:
    """One ratio beside its limit."""
    verdict = "within" if found.median <= LIMITS[what] else "ABOVE"
    console.print(f"{what} {how}: {found} single queries, {verdict} the wanted {LIMITS[what]:g}", highlight=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processor-time", action="store_true", help="count this process's work alone: for a machine that is not idle")
    parser.add_argument("--gated", type=Path, default=RESULTS / "shipped.jsonl", help="published episodes of the full loop")
    parser.add_argument("--always", type=Path, help="the same with --gate-threshold inf")
    given = parser.parse_args()
    clock = time.process_time if given.processor_time else time.perf_counter
    main(given.checkpoint, given.rounds, given.threads, clock)
    gate(given.gated, given.always)
