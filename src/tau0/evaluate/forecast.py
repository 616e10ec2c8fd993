"""How long an evaluation will take here: a few decisions are timed, and counted as often as published episodes needed them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from tau0.evaluate.episodes import run_episode
from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.workers import AgentSource, Episode, MakeWorld

PILOT_STEPS = 24
"""Control steps of the episode that is timed: three decisions or more."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a mode takes on this machine, in seconds.

    Attributes:
        ready_s: Loading the agent and making a world, once a worker.
        start_s: Of an episode, before its first decision.
        decision_s: One decision that simulates nothing, the drawing before it and the steps after it.
        simulating_s: One that simulates.
    """

    ready_s: float
    start_s: float
    decision_s: float
    simulating_s: float

    def episode_s(self, need: Need) -> float:
        """Of an episode with so many decisions."""
        return self.start_s + (need.decisions - need.simulated) * self.decision_s + need.simulated * self.simulating_s


@dataclass(frozen=True, kw_only=True)
class Need:
    """Decisions of an episode, on average: all of them, and those that simulate."""

    decisions: float
    simulated: float


def measure_pace(plain: AgentSource, simulating: AgentSource, make_world: MakeWorld, task: str, max_steps: int) -> Pace:
    """Times one short episode of an agent that never simulates, and one of its twin that always does.

    Args:
        plain: The mode, its gate always open.
        simulating: The mode, its gate never open; the same object where the mode has no gate.
        make_world: Makes a task's world.
        task: Which one stands for all.
        max_steps: As in the evaluation.
    """
    began = time.perf_counter()
    agent, limit = plain.build(), min(PILOT_STEPS, max_steps)
    with closing(make_world(task, max_steps)) as world:
        run_episode(world, agent, 0, max_steps=1)
        ready_s = time.perf_counter() - began
        short, long = run_episode(world, agent, 0, max_steps=1), run_episode(world, agent, 0, max_steps=limit)
        decision_s = _each(short.seconds, long.seconds, long.decisions)
        simulating_s = decision_s
        if simulating is not plain:
            agent = simulating.build()
            run_episode(world, agent, 0, max_steps=1)
            short_one, long_one = run_episode(world, agent, 0, max_steps=1), run_episode(world, agent, 0, max_steps=limit)
            simulating_s = _each(short_one.seconds, long_one.seconds, long_one.decisions)
    return Pace(ready_s=ready_s, start_s=max(0.0, short.seconds - decision_s), decision_s=decision_s, simulating_s=simulating_s)


def _each(short_s: float, long_s: float, decisions: int) -> float:
    """Seconds a decision, from an episode of one decision and one of several."""
    return max(0.0, long_s - short_s) / (decisions - 1) if decisions > 1 else long_s


def needs(committed: Sequence[EpisodeRecord], execute_steps: int, max_steps: int, tasks: Sequence[str], mode: str) -> dict[str, Need]:
    """By task, what published episodes of the mode needed; where there are none, as much as can be needed.

    Args:
        committed: Any episodes.
        execute_steps: Control steps a decision.
        max_steps: Of an episode.
        tasks: Which tasks to say it of.
        mode: Of which mode.
    """
    most = float(-(-max_steps // execute_steps))
    found = {}
    for task in tasks:
        own = [record.result for record in committed if record.result.task == task and record.result.mode == mode]
        found[task] = Need(decisions=most, simulated=most)
        if own:
            found[task] = Need(decisions=statistics.fmean(r.decisions for r in own), simulated=statistics.fmean(r.simulated for r in own))
    return found


def forecast_s(
    todo: Mapping[str, Sequence[Episode]], paces: Mapping[str, Pace], needed: Mapping[str, Mapping[str, Need]], workers: int
) -> float:
    """Seconds until all episodes are run.

    Args:
        todo: By mode, the episodes that are missing.
        paces: By mode.
        needed: By mode and task.
        workers: Processes; no more than there are processors are counted.
    """
    at_once = max(1, min(workers, num_processors()))
    work = sum(paces[mode].episode_s(needed[mode][episode.task]) for mode, episodes in todo.items() for episode in episodes)
    return sum(paces[mode].ready_s for mode, episodes in todo.items() if episodes) * workers / at_once + work / at_once


def num_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
