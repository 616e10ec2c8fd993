"""Closed-loop episodes in physics that does not wait: answers come late, and every control step needs a command."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ContractError, Decision, Embodiment, Float
from tau0.evaluate.episodes import Agent, EpisodeResult, Observer, check_chunk, result_of, wants_frame
from tau0.limits import SafetyLimits
from tau0.plan.executor import ChunkExecutor, ExecutorConfig
from tau0.worlds.protocol import World


class Verdict(Protocol):
    """What a guard lets through: `command` None for nothing, `trips` for every limit that was met."""

    @property
    def command(self) -> NDArray[np.float64] | None: ...
    @property
    def is_holding(self) -> bool: ...
    @property
    def trips(self) -> tuple[Any, ...]: ...


class Guard(Protocol):
    """What stands between model and robot (`tau0.serve.safety.SafetyFilter`)."""

    def check(self, command: Any, state: Any, now: float, *, observed_at: float | None = None) -> Verdict:
        """What to send instead of `command`."""
        ...

    def hold(self, state: Any, now: float) -> Verdict:
        """What to send in a control step without a command."""
        ...


MakeGuard = Callable[[Embodiment, float], Guard]
"""Makes the guard of a robot with so many control steps a second. Picklable."""


@dataclass(frozen=True, kw_only=True)
class Delay:
    """How late answers are, and who makes the best of it.

    Attributes:
        delay_ms: From observation to answer, on top of nothing: the model's own time is not counted, so that results do not depend on the
            machine.
        rate_hz: Control steps a second.
        executor: How chunks are executed.
    """

    delay_ms: float
    rate_hz: float
    executor: ExecutorConfig

    @property
    def steps(self) -> int:
        """Control steps until an answer can be used."""
        return math.ceil(self.delay_ms * self.rate_hz / 1000 - 1e-9)


@dataclass(frozen=True, kw_only=True)
class DelayedSource:
    """How a worker makes an agent whose answers are late, and the robot's side of it.

    Attributes:
        agent: An `AgentSource` (with the `check` of `AgentSpec`).
        delay: How late.
        make_guard: Of the robot.
        name: Of the executor in results, without a space; its kind unless given.
        own_limits: Those that the guard keeps, where they are the checkpoint's own; None where they are what the robot has anyway.
    """

    agent: Any
    delay: Delay
    make_guard: MakeGuard
    name: str = ""
    own_limits: SafetyLimits | None = None

    @property
    def mode(self) -> str:
        """The agent's own label, the executor's, and the delay."""
        return f"{self.agent.mode} {self.name or self.delay.executor.kind} {self.delay.delay_ms:g} ms"

    @cached_property
    def fingerprint(self) -> str:
        """Of the agent and of every setting here, with limits that are the checkpoint's own: no hash of the agent's knows them."""
        settings = f"{self.agent.fingerprint} {sorted(asdict(self.delay).items())}"
        if self.own_limits is not None:
            settings += f" {sorted(asdict(self.own_limits).items())}"
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    @property
    def checkpoint_hash(self) -> str:
        """The agent's."""
        return self.agent.checkpoint_hash

    @property
    def scored_by(self) -> str:
        """The agent's."""
        return self.agent.scored_by

    def check(self, checkpoint: Any) -> None:
        """The agent's."""
        self.agent.check(checkpoint)

    def build(self) -> Agent:
        """The agent."""
        return self.agent.build()


@dataclass(kw_only=True)
class _Course:
    """What happened so far."""

    decisions: list[Decision] = field(default_factory=list)
    decision_ms: list[float] = field(default_factory=list)
    states: list[Float] = field(default_factory=list)
    instruction: str = ""
    held: int = 0
    trips: int = 0


def run_delayed_episode(
    world: World,
    agent: Agent,
    source: DelayedSource,
    seed: int,
    instruction: str | None = None,
    max_steps: int | None = None,
    observer: Observer | None = None,
) -> EpisodeResult:
    """The result of one episode in which the world goes on while the agent thinks. For the arguments see `run_episode`.

    Raises:
        ValueError: When `max_steps` is below 1.
        ContractError: When a chunk does not fit the robot, or its limits do not say how it holds still.
    """
    limit = world.max_steps if max_steps is None else max_steps
    if limit < 1:
        raise ValueError(f"max_steps must be at least 1, got {limit}")
    started = time.perf_counter()
    world.reset(seed, instruction)
    agent.reset(seed)
    executor, course = ChunkExecutor(source.delay.executor, world.embodiment.action.dim), _Course()
    guard = source.make_guard(world.embodiment, source.delay.rate_hz)
    due, step, success = 0, 0, False
    while step < limit and not success:
        if executor.is_waiting and step >= due:
            executor.answer(course.decisions[-1].chunk, step)
        if executor.should_ask:
            _query(world, agent, executor, step, course, observer)
            due = step + source.delay.steps
            if step >= due:
                executor.answer(course.decisions[-1].chunk, step)
        if observer is not None and wants_frame(observer, step):
            observer.on_frame(world.observe())
        success = world.step(_command(world, executor, guard, step, source.delay.rate_hz, course))
        step += 1
    if observer is not None and observer.frame_every > 0:
        observer.on_frame(world.observe())
    course.states.append(world.state())
    done = result_of(world, course.decisions, course.decision_ms, course.instruction, seed, success, step, time.perf_counter() - started)
    grippers = world.embodiment.action.gripper
    jerk = rms_jerk(np.delete(np.stack(course.states), list(grippers), axis=1), source.delay.rate_hz)
    return replace(done, jerk=jerk, held=course.held, trips=course.trips)


def _query(world: World, agent: Agent, executor: ChunkExecutor, step: int, course: _Course, observer: Observer | None) -> None:
    """Asks the agent what it will only say later."""
    observation = replace(world.observe(), committed=executor.ask(step))
    course.instruction = course.instruction or observation.instruction
    asked = time.perf_counter()
    decision = agent.decide(observation)
    course.decision_ms.append(1000 * (time.perf_counter() - asked))
    check_chunk(decision, world)
    course.decisions.append(decision)
    if observer is not None:
        observer.on_decision(observation, decision)


def _command(world: World, executor: ChunkExecutor, guard: Guard, step: int, rate_hz: float, course: _Course) -> Float:
    """What this control step sends: the executor's action, or holding still, and always past the guard."""
    state, now = world.state(), step / rate_hz
    course.states.append(state)
    observed_at, action = executor.observed_at, executor.next()
    if action is None or observed_at is None:
        verdict = guard.hold(state, now)
    else:
        verdict = guard.check(action, state, now, observed_at=observed_at / rate_hz)
    if verdict.command is None:
        raise ContractError(f"the limits of {world.embodiment.name!r} do not say how it holds still: give it limits of its own")
    course.held += verdict.is_holding
    course.trips += len(verdict.trips)
    return verdict.command.astype(np.float32)


def rms_jerk(states: Float, rate_hz: float) -> float | None:
    """Root mean square of the third difference of a state times the rate cubed: how roughly the robot really moved.

    Args:
        states: One row a control step, shape (steps, numbers).
        rate_hz: Rows a second.

    Returns:
        In units of the state a second cubed, over all numbers together; None for fewer than four states.
    """
    if len(states) < 4:
        return None
    jerk = np.diff(states.astype(np.float64), 3, axis=0) * rate_hz**3
    return float(np.sqrt((jerk**2).sum(axis=1).mean()))
