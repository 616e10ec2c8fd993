"""A robot's control loop: a command in every control step, whatever becomes of the server. No torch.

The link asks in its own thread, the executor turns late chunks into one action a step, the safety filter has the last word. Without an
action, and without a server, the robot holds; when the server is back the loop goes on where it was.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from tau0.contract import Float, Observation
from tau0.plan.executor import ChunkExecutor
from tau0.serve.link import Link, NoAnswer
from tau0.serve.protocol import ConnectionLostError
from tau0.serve.safety import Kind, SafetyFilter, Verdict

TELL_S = 1.0
"""Time between two times that the server is told of trips, in seconds."""


class Robot(Protocol):
    """What the loop drives. A `World` is one."""

    def observe(self) -> Observation:
        """What the cameras see now."""
        ...

    def state(self) -> Float:
        """Proprioception now, in robot units, shape (ds,)."""
        ...

    def step(self, action: Float) -> bool:
        """Executes one command, shape (da,). Returns whether the task is solved."""
        ...


@dataclass(frozen=True, kw_only=True)
class Drive:
    """How an episode went.

    Attributes:
        success: Whether the robot said that its task is solved.
        steps: Control steps, those in which it held included.
        held: Control steps in which it held.
        late: Control steps that took longer than one may, so that the next command came late; 0 where the robot's time waits.
        decisions: Chunks that came.
        decision_ms: Median time from question to answer; 0 where none came.
        reconnections: Times that the server was lost and found again.
        trips: Control steps in which each safety limit intervened.
        reasons: Why there was no answer, with counts.
    """

    success: bool
    steps: int
    held: int
    late: int
    decisions: int
    decision_ms: float
    reconnections: int
    trips: Mapping[str, int]
    reasons: Mapping[str, int]


@dataclass(kw_only=True)
class _Course:
    """What has happened so far."""

    step: int = 0
    held: int = 0
    late: int = 0
    asked_at: float = 0.0
    told_at: float = 0.0
    told: Mapping[Kind, int] = field(default_factory=dict)
    answers_ms: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class ControlLoop:
    """Drives one robot with one server."""

    def __init__(
        self,
        robot: Robot,
        link: Link,
        executor: ChunkExecutor,
        guard: SafetyFilter,
        rate_hz: float,
        *,
        waits: bool = False,
        records: bool = False,
        patience_s: float = 60.0,
        each_step: Callable[[int, Verdict], None] | None = None,
    ) -> None:
        """A loop at rest.

        Args:
            robot: Is driven.
            link: To the server.
            executor: Of chunks.
            guard: Of commands.
            rate_hz: Control steps a second.
            waits: Whether the robot's time stands still while it waits for an answer, as that of a simulated one can.
            records: Whether every control step is observed and reported.
            patience_s: Time without a server after which an episode is given up.
            each_step: Is told of every control step, for whoever watches.
        """
        self._robot, self._link, self._executor, self._guard = robot, link, executor, guard
        self._period_s, self._waits, self._records, self._patience_s = 1.0 / rate_hz, waits, records, patience_s
        self._each_step = each_step

    def run(self, max_steps: int) -> Drive:
        """Drives until the task is solved, or for `max_steps` control steps in which the robot did not hold.

        Raises:
            ConnectionLostError: There was no server for longer than the loop has patience.
        """
        self._executor.reset()
        self._guard.reset()
        before, reconnections = dict(self._guard.counts), self._link.reconnections
        course, success = _Course(told_at=time.monotonic(), told=dict(before)), False
        while not success and course.step - course.held < max_steps:
            began = time.monotonic()
            success = self._step(course, began)
            if began - course.told_at > TELL_S:
                self._tell_trips(course)
                course.told_at = began
            if not self._waits:
                left_s = self._period_s - (time.monotonic() - began)
                course.late += left_s < 0
                time.sleep(max(0.0, left_s))
        trips = {kind: count - before[kind] for kind, count in self._guard.counts.items() if count > before[kind]}
        self._tell_trips(course)
        return Drive(
            success=success,
            steps=course.step,
            held=course.held,
            late=course.late,
            decisions=len(course.answers_ms),
            decision_ms=statistics.median(course.answers_ms or [0.0]),
            reconnections=self._link.reconnections - reconnections,
            trips=trips,
            reasons=dict(course.reasons),
        )

    def _step(self, course: _Course, began: float) -> bool:
        """One control step. Returns whether the task is solved.

        It hears twice: first, because an answer may make the next question due, and last, because sensors take time to read.
        """
        self._obey_stop()
        self._hear(course, wait_s=0.0)
        observation, state = self._ask(course), self._robot.state()
        self._hear(course, wait_s=self._patience_s if self._waits else 0.0)
        now = course.step * self._period_s if self._waits else began
        course.times.append(now)
        since = self._executor.observed_at
        action = self._executor.next()
        if action is None:
            verdict = self._guard.hold(state, now)
        else:
            verdict = self._guard.check(action, state, now, observed_at=None if since is None else course.times[since])
        if verdict.is_holding:
            course.held += 1
            self._check_patience(began)
        success = False
        if verdict.command is not None:
            command = verdict.command.astype(np.float32)
            if self._records:
                seen = observation or replace(self._robot.observe(), step=course.step)
                self._link.report(replace(seen, committed=None), command, {})
            success = self._robot.step(command)
        if self._each_step is not None:
            self._each_step(course.step, verdict)
        course.step += 1
        return success

    def _tell_trips(self, course: _Course) -> None:
        """Tells the server what limits have intervened since it was last told; keeps that for later while there is no server."""
        if not self._link.is_up:
            return
        self._link.count({kind: count - course.told[kind] for kind, count in self._guard.counts.items() if count > course.told[kind]})
        course.told = dict(self._guard.counts)

    def _obey_stop(self) -> None:
        """Stops when the server says so, and goes on when it says that."""
        if self._link.stop is not None and not self._guard.is_stopped:
            self._guard.stop(self._link.stop)
        elif self._link.stop is None and self._guard.is_stopped and self._link.is_up:
            self._guard.release()
            self._executor.reset()

    def _ask(self, course: _Course) -> Observation | None:
        """Begins a query where one is due. Returns its observation."""
        if not self._executor.should_ask or not self._link.is_up or self._guard.is_stopped:
            return None
        observation = replace(self._robot.observe(), step=course.step)
        committed = self._executor.ask(course.step)
        self._link.ask(replace(observation, committed=committed))
        course.asked_at = time.monotonic()
        return observation

    def _hear(self, course: _Course, wait_s: float) -> None:
        """Takes the answer where one is wanted and comes within `wait_s` seconds."""
        if not self._executor.is_waiting:
            return
        answer = self._link.answer(wait_s)
        if isinstance(answer, NoAnswer):
            course.reasons[answer.reason] += 1
            self._executor.give_up()
        elif answer is not None:
            course.answers_ms.append(1000 * (time.monotonic() - course.asked_at))
            self._executor.answer(answer.chunk, course.step)

    def _check_patience(self, now: float) -> None:
        if self._waits:
            time.sleep(self._period_s)
        if not self._link.is_up and now - self._link.lost_at > self._patience_s:
            raise ConnectionLostError(f"there has been no server for {self._patience_s:g} s")
