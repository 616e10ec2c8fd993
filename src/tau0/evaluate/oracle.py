"""What really happens: candidates tried in the physics of the world itself, from the state in which the decision is made.

Two uses. An oracle executes the candidate that turned out best: what a perfect selector could make of the same proposals. And any other
agent can be watched: what it chooses stays as it is, and beside it is written down what every candidate would have led to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tau0.checkpoint import Checkpoint
from tau0.collect.episode import steps_to_solve
from tau0.contract import ActionChunk, Candidates, Decision, Float, Observation
from tau0.evaluate.episodes import Agent
from tau0.plan.spec import AgentSpec
from tau0.worlds.protocol import World

Picks = Literal["never", "always", "gate"]
"""When the oracle replaces its agent's choice: never, always, or where its gate did not let it pass, among what was imagined."""

ORACLES: dict[str, tuple[str, Picks]] = {"oracle": ("rcs", "always"), "oracle-gated": ("unrevised", "gate")}
"""Label to the planner's mode that proposes, and when the oracle picks. What the planner knew of the candidates is in the trace as well."""


class Rehearsal:
    """An `Agent` and `Inhabitant`: tries every candidate of another agent before anything is executed.

    An oracle that picks always does so among all candidates. One that picks at the gate stands in for the simulator, so it picks among the
    candidates that the agent imagined, and leaves the choice to the agent where it imagined none. It differs from the agent in two more
    ways: a candidate that stands still may win, since a decision does not say which do; and it executes as many steps as it tried, while
    the agent stops at the peak of what it imagined.
    """

    def __init__(
        self,
        agent: Agent,
        picks: Picks = "never",
        label: str | None = None,
        execute_steps: int | None = None,
        tried_steps: int | None = None,
    ) -> None:
        """A rehearsal.

        Args:
            agent: Proposes and chooses.
            picks: When its choice is replaced by the best candidate.
            label: What the decisions' mode is called; the agent's own unless given.
            execute_steps: Steps of a candidate that are tried, and executed where the oracle picks; as many as the agent's chunk has
                unless given.
            tried_steps: Steps of every candidate that are tried, whatever is executed; those that are executed unless given, so that
                outcomes are of what follows.
        """
        self._agent, self._picks, self._label = agent, picks, label
        self._execute_steps, self._tried_steps = execute_steps, tried_steps
        self._world: World | None = None
        self._max_steps = 0

    def enter(self, world: World, max_steps: int) -> None:
        """See `Inhabitant.enter`."""
        self._world, self._max_steps = world, max_steps

    def reset(self, seed: int) -> None:
        """See `Agent.reset`."""
        self._agent.reset(seed)

    def decide(self, observation: Observation) -> Decision:
        """The agent's decision with all outcomes, or the oracle's. The world is left as it was."""
        world, left = self._world, self._max_steps - observation.step
        if world is None:
            raise RuntimeError("a rehearsal needs a world: call enter first")
        decision = self._agent.decide(observation)
        picking = self._picks == "always" or (self._picks == "gate" and decision.gate_passed is False)
        steps = self._execute_steps if picking and self._execute_steps else len(decision.chunk)
        here, rehearsed = world.snapshot(), self._tried_steps or steps
        tried = replace(
            decision,
            mode=self._label or decision.mode,
            proposals=_tried(decision.proposals, world, here, rehearsed, left),
            revision=None if decision.revision is None else _tried(decision.revision, world, here, rehearsed, left),
            expert_steps=_expert_steps(world, here, left),
        )
        world.restore(here)
        return _picked(tried, steps, _imagined(decision) if self._picks == "gate" else None) if picking else tried


def best_outcome(outcomes: Float, among: NDArray[np.bool_] | None = None) -> int | None:
    """The candidate that ends soonest in success, the first of equals, of all or of those `among`; None where none does."""
    reached = outcomes if among is None else np.where(among, outcomes, np.inf)
    return int(reached.argmin()) if np.isfinite(reached).any() else None


def _imagined(decision: Decision) -> NDArray[np.bool_]:
    """Which candidates of the first round were simulated, shape (n,)."""
    progress = decision.proposals.progress
    return np.zeros(len(decision.proposals.actions), np.bool_) if progress is None else np.all(np.isfinite(progress), axis=1)


def _picked(decision: Decision, steps: int, among: NDArray[np.bool_] | None) -> Decision:
    """Executes the best of the first round, or of those `among`; the agent's own choice where none of them leads anywhere."""
    assert decision.proposals.outcomes is not None
    best = best_outcome(decision.proposals.outcomes, among)
    if best is None:
        return decision
    chunk = ActionChunk(actions=decision.proposals.actions[best, :steps], control_hz=decision.chunk.control_hz)
    return replace(decision, choice="oracle", chosen=best, chunk=chunk)


def _tried(candidates: Candidates, world: World, here: Any, steps: int, left: int) -> Candidates:
    return replace(candidates, outcomes=np.array([_outcome(world, here, chunk[:steps], left) for chunk in candidates.actions], np.float32))


def _outcome(world: World, here: Any, actions: Float, left: int) -> float:
    """Control steps until success of one chunk and the expert after it, infinity where `left` steps do not suffice."""
    world.restore(here)
    for taken, action in enumerate(actions[:left], start=1):
        if world.step(action):
            return taken
    remaining = steps_to_solve(world, max(0, left - len(actions)))
    return np.inf if remaining is None else len(actions) + remaining


def _expert_steps(world: World, here: Any, left: int) -> float:
    world.restore(here)
    remaining = steps_to_solve(world, left)
    return np.inf if remaining is None else remaining


@dataclass(frozen=True, kw_only=True)
class RehearsalSpec:
    """How a process makes an oracle, or an agent whose candidates are all tried.

    Attributes:
        agent: Makes the agent that proposes.
        mode: The label in results: one of `ORACLES`, or the agent's own mode.
    """

    agent: AgentSpec
    mode: str

    @cached_property
    def fingerprint(self) -> str:
        """Of the agent and of who chooses. Trying candidates changes nothing, so an agent that keeps its choice keeps its fingerprint.

        At the gate, where some candidates may not be imagined, it also says that the oracle picks among those that are.
        """
        if self.mode not in ORACLES:
            return self.agent.fingerprint
        imagines_some = self.agent.search.num_futures is not None or self.agent.budget_ms is not None
        among = " among the imagined" if ORACLES[self.mode][1] == "gate" and imagines_some else ""
        return hashlib.sha256(f"{self.agent.fingerprint} {self.mode}{among}".encode()).hexdigest()[:16]

    @property
    def checkpoint_hash(self) -> str:
        """See `AgentSpec.checkpoint_hash`."""
        return self.agent.checkpoint_hash

    @property
    def scored_by(self) -> str:
        """See `AgentSpec.scored_by`."""
        return self.agent.scored_by

    def check(self, checkpoint: Checkpoint) -> None:
        """See `AgentSpec.check`."""
        self.agent.check(checkpoint)

    def note(self, checkpoint: Checkpoint) -> str | None:
        """See `AgentSpec.note`."""
        return self.agent.note(checkpoint)

    def build(self) -> Rehearsal:
        """A ready agent. Raises `CheckpointError` when the folder is not a whole checkpoint for this mode."""
        agent = self.agent.build()
        if self.mode not in ORACLES:
            return Rehearsal(agent)
        return Rehearsal(agent, ORACLES[self.mode][1], self.mode, agent.execute_steps)


def oracle_spec(mode: str, agent: AgentSpec) -> RehearsalSpec:
    """The oracle called `mode`, on the proposals of the given agent, whose own mode is replaced by the one that the oracle needs."""
    proposing: Any = ORACLES[mode][0]
    return RehearsalSpec(agent=replace(agent, mode=proposing), mode=mode)
