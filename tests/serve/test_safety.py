"""No input whatever produces a command outside the limits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from guarded_arm import HOME, HZ, LIMITS, ROBOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tau0.contract import Embodiment
from tau0.limits import SafetyLimits
from tau0.serve.rotations import rotation_of, six_numbers, turn_between
from tau0.serve.safety import KINDS, SafetyFilter

ROOM = 1e-7

numbers = st.one_of(
    st.floats(-3, 3), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, -1.0, 1e308, -1e308, 5e-324])
)
vectors = st.lists(numbers, min_size=10, max_size=10).map(np.array)
oddities = st.sampled_from(
    [None, "go", [1, [2]], np.zeros((2, 5)), np.zeros(3), np.array(["a"] * 10), np.array([1j] * 10), {}, object(), 7]
)
mild = st.lists(st.floats(-1, 1), min_size=10, max_size=10).map(np.array)
small = st.lists(st.floats(-0.3, 0.3), min_size=10, max_size=10).map(np.array)
commands = st.one_of(vectors, mild, oddities)
calls = st.lists(
    st.tuples(
        commands,
        st.one_of(st.just(HOME), st.just(HOME), small.map(lambda some: HOME + some), mild, vectors, oddities),
        st.one_of(st.just(1 / HZ), st.just(1 / HZ), st.floats(allow_nan=True, allow_infinity=True)),
        st.one_of(st.none(), st.floats(-1, 3), st.just(math.nan)),
        st.sampled_from(["check", "check", "check", "hold", "stop", "release", "reset"]),
    ),
    max_size=15,
)


class Watcher:
    """Compares every command with the limits, by their definition."""

    def __init__(self, robot: Embodiment, limits: SafetyLimits) -> None:
        self.robot, self.limits = robot, limits
        self.last: NDArray[np.float64] | None = None

    def forget(self) -> None:
        self.last = None

    def see(self, command: NDArray[np.float64] | None, state: Any) -> None:
        if command is None:
            return
        assert command.shape == (self.robot.action.dim,)
        assert np.isfinite(command).all()
        assert (command >= np.array(self.robot.action.low) - ROOM).all()
        assert (command <= np.array(self.robot.action.high) + ROOM).all()
        period = 1 / self.robot.control_hz
        for i, meaning in enumerate(self.limits.meaning):
            low, high, speed = self.limits.low[i], self.limits.high[i], self.limits.speed[i]
            if meaning == "step":
                way = self.limits.step_size[i] * command[i]
                if speed is not None:
                    assert abs(way) <= speed * period + ROOM
                if way != 0:
                    start = float(np.asarray(state, float)[i])
                    assert low is None or start + way >= min(low, start) - ROOM
                    assert high is None or start + way <= max(high, start) + ROOM
                continue
            assert low is None or command[i] >= low - ROOM
            assert high is None or command[i] <= high + ROOM
            if self.last is not None and speed is not None:
                assert abs(command[i] - self.last[i]) <= speed * period + ROOM
        for start in self.limits.rotations:
            rotation = rotation_of(command[start : start + 6])
            assert rotation is not None
            np.testing.assert_allclose(six_numbers(rotation), command[start : start + 6], atol=1e-9)
            if self.last is not None and self.limits.turn_speed is not None:
                before = rotation_of(self.last[start : start + 6])
                assert before is not None
                assert np.linalg.norm(turn_between(before, rotation)) <= self.limits.turn_speed * period + 1e-6
        self.last = command


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls)
def test_no_input_whatever_leaves_the_limits(calls: list[tuple[Any, Any, float, float | None, str]]) -> None:
    guard, watcher, now = SafetyFilter(ROBOT, LIMITS), Watcher(ROBOT, LIMITS), 0.0
    for command, state, wait, age, what in calls:
        now = now + wait if math.isfinite(now + wait) else wait
        if what == "stop":
            guard.stop("test")
        elif what in ("release", "reset"):
            getattr(guard, what)()
            watcher.forget()
        elif what == "hold":
            watcher.see(guard.hold(state, now).command, state)
        else:
            watcher.see(guard.check(command, state, now, observed_at=None if age is None else now - age).command, state)
    assert set(guard.counts) == set(KINDS)


@settings(max_examples=30, deadline=None)
@given(st.lists(mild, min_size=3, max_size=40), st.sampled_from([(), ("speed",), ("range", "acceleration")]))
def test_a_robot_that_does_as_told_is_never_braked_harder_than_it_may(wanted: list[NDArray[np.float64]], refuses: Any) -> None:
    limits = replace(LIMITS, refuses=refuses)
    guard, watcher, state, velocity = SafetyFilter(ROBOT, limits), Watcher(ROBOT, limits), HOME.copy(), np.zeros(10)
    for step, command in enumerate(wanted):
        sent = guard.check(2 * command, state, step / HZ).command
        assert sent is not None
        watcher.see(sent, state)
        after = np.where(np.arange(10) == 0, state + 0.02 * sent, sent)
        speed = (after - state) * HZ
        for i in (0, 1):
            limit = limits.acceleration[i]
            assert limit is not None
            assert abs(speed[i] - velocity[i]) <= limit / HZ + 1e-6
        state, velocity = after, speed
