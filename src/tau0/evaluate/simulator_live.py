"""Ranking in running physics: the policy's candidates are imagined, and each is executed from the same restored state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from tau0.checkpoint import Checkpoint
from tau0.contract import Decision
from tau0.evaluate.agreement import concordance
from tau0.evaluate.episodes import Agent
from tau0.evaluate.oracle import Rehearsal
from tau0.evaluate.simulator_intervals import mean_interval
from tau0.evaluate.simulator_results import PhysicsCard
from tau0.evaluate.statistics import Interval
from tau0.plan.agent import PlanningAgent
from tau0.worlds.protocol import World


@dataclass(frozen=True, kw_only=True)
class LiveSpec:
    """Where candidates are tried.

    Attributes:
        tasks: Episodes take them in turn.
        episodes: How many.
        candidates: In each state.
        max_decisions: Of an episode, at most; each executes the candidate that the simulator promises most of.
        max_steps: Within which chunk and expert must succeed.
        first_seed: Of the first episode of every task; the next ones follow. Evaluation's, none of which was trained on.
    """

    tasks: tuple[str, ...]
    episodes: int = 10
    candidates: int = 8
    max_decisions: int = 10
    max_steps: int = 300
    first_seed: int = 0


def proposer(checkpoint: Checkpoint, spec: LiveSpec) -> PlanningAgent:
    """Draws, scores and imagines all candidates at every decision, whatever its gate says."""
    return PlanningAgent(checkpoint, "unrevised", spec.candidates, gate_threshold=inf)


def measure_physics(
    proposes: Agent,
    make_world: Callable[[str], World],
    spec: LiveSpec,
    num_steps: int,
    on_decision: Callable[[float], None] = lambda _share: None,
) -> PhysicsCard:
    """How well the simulator ranks what the policy proposes, against what physics makes of it.

    Both are asked about the same steps of every candidate, however few of the chosen one are executed.

    Args:
        proposes: Its decisions hold progress for every candidate; see `proposer`.
        make_world: From a task's name.
        spec: Where.
        num_steps: Steps of every candidate that are tried, the expert finishing after them, and over which progress is compared.
        on_decision: Gets the share done.
    """
    agent = Rehearsal(proposes, tried_steps=num_steps)
    decisions: list[Decision] = []
    episodes: list[int] = []
    for i in range(spec.episodes):
        world = make_world(spec.tasks[i % len(spec.tasks)])
        try:
            for k, decision in enumerate(_episode(world, agent, spec.first_seed + i // len(spec.tasks), spec)):
                decisions.append(decision)
                episodes.append(i)
                on_decision((i + (k + 1) / spec.max_decisions) / spec.episodes)
        finally:
            world.close()
        on_decision((i + 1) / spec.episodes)
    return physics_card(decisions, episodes, spec.candidates, num_steps)


def _episode(world: World, agent: Rehearsal, seed: int, spec: LiveSpec) -> Iterator[Decision]:
    """Decision after decision, until the task is solved or enough were made."""
    world.reset(seed)
    agent.reset(seed)
    agent.enter(world, spec.max_steps)
    for _ in range(spec.max_decisions):
        decision = agent.decide(world.observe())
        yield decision
        if any(world.step(action) for action in decision.chunk.actions):
            return


def physics_card(decisions: Sequence[Decision], episodes: Sequence[int], num_candidates: int, num_steps: int) -> PhysicsCard:
    """What decisions come to of which `num_steps` of every candidate were tried; intervals draw the given episodes again."""
    rng = np.random.default_rng(0)
    tried = [(episode, np.asarray(d.proposals.outcomes, np.float64), d) for episode, d in zip(episodes, decisions, strict=True)]
    decided = [(episode, outcomes, d) for episode, outcomes, d in tried if not (outcomes == outcomes[0]).all()]
    found = np.array([_judged(outcomes, d, num_steps) for _, outcomes, d in decided]).reshape(-1, 4)
    clusters = np.array([episode for episode, _, _ in decided])

    def mean(column: int) -> Interval | None:
        known = np.isfinite(found[:, column])
        return mean_interval(found[known, column], clusters[known], rng) if known.any() else None

    return PhysicsCard(
        num_states=len(tried),
        num_candidates=num_candidates,
        num_decided=len(decided),
        progress=mean(0),
        score=mean(1),
        top=mean(2),
        top_by_chance=float(found[:, 3].mean()) if len(found) else None,
    )


def _judged(outcomes: NDArray[np.float64], decision: Decision, num_steps: int) -> tuple[float, float, float, float]:
    """Pairs ranked rightly by progress and by score, whether the most promising is among the best, share of the best."""
    assert decision.proposals.progress is not None
    promise = decision.proposals.progress[:, :num_steps].max(axis=1).astype(np.float64)
    scores, best = decision.proposals.scores, outcomes == outcomes.min()
    by_score = np.nan if scores is None else concordance(scores.astype(np.float64), outcomes)
    return concordance(promise, outcomes), by_score, float(best[promise == promise.max()].mean()), float(best.mean())
