"""One closed-loop episode: observe, decide, execute the chunk, until the task is solved or time is up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from tau0.contract import ContractError, Decision, Observation
from tau0.worlds.protocol import World


class Agent(Protocol):
    """What is evaluated: a policy, a planner, or a client of a server."""

    def reset(self, seed: int) -> None:
        """Forgets the last episode. Every random number of the next one follows from `seed`."""
        ...

    def decide(self, observation: Observation) -> Decision:
        """What to do now. The chunk is executed whole, so it is already as short as it should be."""
        ...


@runtime_checkable
class Inhabitant(Protocol):
    """An agent that may try things in the world itself: an oracle, which no robot can be."""

    def enter(self, world: World, max_steps: int) -> None:
        """The world of the episode that begins, and its limit. Whenever `decide` returns, the world must be as it was."""
        ...


class Observer(Protocol):
    """Watches an episode, to make a video or a trace of it.

    Attributes:
        frame_every: Control steps between two frames of video; 0 for none. Each frame costs a rendering.
    """

    frame_every: int

    def on_frame(self, observation: Observation) -> None:
        """One frame of video: every `frame_every` steps from 0, and the last state."""
        ...

    def on_decision(self, observation: Observation, decision: Decision) -> None:
        """What the agent saw and what it made of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """What happened in one episode.

    Attributes:
        task: The world's task.
        instruction: The words that the agent was given.
        seed: Of the initial state and of the agent's noise.
        mode: The planner's mode, as its decisions name it.
        success: Whether the task was solved within the limit.
        steps: Control steps executed.
        decisions: Queries of the agent.
        gates_passed: Decisions whose best candidate was good enough to skip simulation.
        simulated: Decisions that imagined futures.
        revised: Decisions that proposed a second round.
        revisions_kept: Decisions that executed a chunk of the second round.
        seconds: Wall time of the episode.
        decision_ms: Median wall time of a decision.
        jerk: How roughly the robot moved (`tau0.evaluate.delayed.rms_jerk`); None where the world waited for decisions.
        held: Control steps in which it was told to hold still, of those in a world that does not wait.
        trips: Safety limits met, in such a world.
    """

    task: str
    instruction: str
    seed: int
    mode: str
    success: bool
    steps: int
    decisions: int
    gates_passed: int
    simulated: int
    revised: int
    revisions_kept: int
    seconds: float
    decision_ms: float
    jerk: float | None = None
    held: int = 0
    trips: int = 0


def run_episode(
    world: World,
    agent: Agent,
    seed: int,
    instruction: str | None = None,
    max_steps: int | None = None,
    observer: Observer | None = None,
) -> EpisodeResult:
    """The result of one episode. The world renders when a decision is due, and when the observer wants a frame, never otherwise.

    Args:
        world: Is reset to `seed`.
        agent: Is reset to `seed`, so that all modes of an agent meet the same initial state and draw the same noise.
        seed: Of everything random in the episode.
        instruction: What to tell the agent; None for the world's own words.
        max_steps: Control steps allowed; None for the world's own limit.
        observer: Sees frames and decisions.

    Raises:
        ValueError: When `max_steps` is below 1.
        ContractError: When the agent's chunk is empty, not finite, or of another action dimension than the robot's.
    """
    limit = world.max_steps if max_steps is None else max_steps
    if limit < 1:
        raise ValueError(f"max_steps must be at least 1, got {limit}")
    started = time.perf_counter()
    world.reset(seed, instruction)
    agent.reset(seed)
    if isinstance(agent, Inhabitant):
        agent.enter(world, limit)
    decisions: list[Decision] = []
    decision_ms: list[float] = []
    step, success, told = 0, False, ""
    while step < limit and not success:
        observation = world.observe()
        told = told or observation.instruction
        asked = time.perf_counter()
        decision = agent.decide(observation)
        decision_ms.append(1000 * (time.perf_counter() - asked))
        decisions.append(decision)
        check_chunk(decision, world)
        if observer is not None:
            observer.on_decision(observation, decision)
            if wants_frame(observer, step):
                observer.on_frame(observation)
        for index, action in enumerate(decision.chunk.actions[: limit - step]):
            if observer is not None and index > 0 and wants_frame(observer, step):
                observer.on_frame(world.observe())
            success = world.step(action)
            step += 1
            if success:
                break
    if observer is not None and observer.frame_every > 0:
        observer.on_frame(world.observe())
    return result_of(world, decisions, decision_ms, told, seed, success, step, time.perf_counter() - started)


def result_of(
    world: World,
    decisions: Sequence[Decision],
    decision_ms: Sequence[float],
    instruction: str,
    seed: int,
    success: bool,
    steps: int,
    seconds: float,
) -> EpisodeResult:
    """What happened in an episode, from its decisions (at least one) and what each took."""
    return EpisodeResult(
        task=world.task,
        instruction=instruction,
        seed=seed,
        mode=decisions[0].mode,
        success=success,
        steps=steps,
        decisions=len(decisions),
        gates_passed=sum(d.gate_passed is True for d in decisions),
        simulated=sum(d.proposals.progress is not None for d in decisions),
        revised=sum(d.revision is not None for d in decisions),
        revisions_kept=sum(d.choice == "revised" for d in decisions),
        seconds=seconds,
        decision_ms=statistics.median(decision_ms),
    )


def wants_frame(observer: Observer, step: int) -> bool:
    """Whether a frame of video is due."""
    return observer.frame_every > 0 and step % observer.frame_every == 0


def check_chunk(decision: Decision, world: World) -> None:
    """Raises `ContractError` when a chunk is empty, not finite, or of another action dimension than the robot's."""
    actions, dim = decision.chunk.actions, world.embodiment.action.dim
    if actions.ndim != 2 or len(actions) == 0 or actions.shape[1] != dim:
        raise ContractError(f"the agent's chunk at step {decision.step} has shape {actions.shape}, expected (steps >= 1, {dim})")
    if not np.isfinite(actions).all():
        raise ContractError(f"the agent's chunk at step {decision.step} holds a value that is not finite")
