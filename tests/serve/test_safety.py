"""No input whatever produces a command outside the limits."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tau0.contract import ActionSpec, Camera, ContractError, Embodiment
from tau0.limits import Meaning, SafetyLimits
from tau0.serve.rotations import rotation_of, six_numbers, turn_between, turned
from tau0.serve.safety import KINDS, SafetyFilter
from tau0.worlds.registry import known_limits, limits_of

HZ = 20.0
NAMES = ("x", "y", "joint", "grip", *(f"r{i}" for i in range(6)))
ROBOT = Embodiment(
    name="six-number arm",
    cameras=(Camera(name="front", height=4, width=4),),
    state_names=NAMES,
    action=ActionSpec(names=NAMES, low=(-1.0, -2.0, -3.0, 0.0, *(-1.0,) * 6), high=(1.0, 2.0, 3.0, 1.0, *(1.0,) * 6), gripper=(3,)),
    control_hz=HZ,
    action_horizon=9,
    frame_stride=4,
)
NONE = (None,) * 6
POSITIONS: tuple[Meaning, ...] = ("position",) * 6
LIMITS = SafetyLimits(
    meaning=("step", "position", "position", "effort", *POSITIONS),
    step_size=(0.02, *(1.0,) * 9),
    low=(-0.3, -0.5, None, None, *NONE),
    high=(0.3, 0.4, None, None, *NONE),
    speed=(0.3, 1.0, 2.0, 4.0, *NONE),
    acceleration=(2.0, 5.0, None, None, *NONE),
    rotations=(4,),
    turn_speed=2.0,
    turn_acceleration=20.0,
    max_age_s=0.5,
    watchdog_s=0.3,
)
HOME = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
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


@pytest.mark.parametrize(
    ("command", "kind", "expected"),
    [
        ([9.0, 0, 0, 0.5, 1, 0, 0, 0, 1, 0], "bounds", {0: 2.0 / HZ / HZ / 0.02}),
        ([0, 0, 3.0, 0.5, 1, 0, 0, 0, 1, 0], "speed", {2: 2.0 / HZ}),
        ([0, 1.5, 0, 0.5, 1, 0, 0, 0, 1, 0], "range", {1: 5.0 / HZ / HZ}),
        ([0, 0, 0, 7.0, 1, 0, 0, 0, 1, 0], "gripper", {3: 0.2}),
        ([0, 0, 0, 0.0, 3, 0, 0, 0, 1, 0], "rotation", {4: 1.0, 8: 1.0}),
    ],
)
def test_each_limit_by_name(command: list[float], kind: Any, expected: dict[int, float], caplog: pytest.LogCaptureFixture) -> None:
    guard = SafetyFilter(ROBOT, LIMITS)
    with caplog.at_level(logging.WARNING, "tau0.serve.safety"):
        verdict = guard.check(np.array(command), HOME, 0.0)
    assert verdict.command is not None
    assert not verdict.is_holding
    assert kind in {trip.kind for trip in verdict.trips}
    assert guard.counts[kind] == 1
    assert f"safety trip {kind}" in caplog.text
    for index, value in expected.items():
        assert verdict.command[index] == pytest.approx(value)
    refusing = SafetyFilter(ROBOT, replace(LIMITS, refuses=(kind,))).check(np.array(command), HOME, 0.0)
    assert refusing.is_holding
    assert refusing.command is not None
    np.testing.assert_allclose(refusing.command[[0, 1, 2, 4, 8]], [0, 0, 0, 1, 1], atol=1e-12)


def test_what_is_within_the_limits_passes_to_the_last_digit() -> None:
    guard, rng = SafetyFilter(ROBOT, LIMITS), np.random.default_rng(0)
    for step in range(50):
        command = np.concatenate([rng.uniform(-0.05, 0.05, 4) * (1, 0.01, 0.2, 1) + (0, 0, 0, 0.05), HOME[4:]])
        verdict = guard.check(command, HOME, step / HZ)
        assert verdict.command is not None
        assert verdict.trips == ()
        assert np.array_equal(verdict.command, command)


def test_old_observations_and_odd_clocks_make_it_hold() -> None:
    guard = SafetyFilter(ROBOT, LIMITS)
    assert not guard.check(HOME, HOME, 1.0, observed_at=0.6).is_holding
    for now, seen, kind in (
        (1.05, 0.5, "stale"),
        (1.10, math.nan, "stale"),
        (1.105, 1.1, "clock"),
        (1.0, 1.0, "clock"),
        (math.nan, 1.0, "clock"),
    ):
        verdict = guard.check(HOME, HOME, now, observed_at=seen)
        assert verdict.is_holding
        assert kind in {trip.kind for trip in verdict.trips}
    assert not guard.check(HOME, HOME, 1.1, observed_at=1.0).is_holding


def test_a_stalled_stream_brakes_holds_and_is_counted_once() -> None:
    guard, state = SafetyFilter(ROBOT, LIMITS), HOME.copy()
    places: list[float] = []
    for step in range(10):
        verdict = guard.check(np.array([0, 0.04 * (step + 1), 0, 0.5, *HOME[4:]]), state, step / HZ)
        assert verdict.command is not None
        places[:] = [float(verdict.command[1])]
    for step in range(10, 30):
        verdict = guard.hold(state, step / HZ)
        assert verdict.is_holding
        assert verdict.command is not None
        places.append(float(verdict.command[1]))
    assert np.abs(np.diff(places, 2)).max() <= 5.0 / HZ**2 + 1e-9
    assert places[-1] == places[10]
    assert guard.counts["watchdog"] == 1
    assert not guard.check(HOME + np.array([0, places[-1], *(0,) * 8]), state, 30 / HZ).is_holding
    guard.hold(state, 31 / HZ)
    assert guard.counts["watchdog"] == 1


def test_an_emergency_stop_stands_until_it_is_released() -> None:
    guard = SafetyFilter(ROBOT, LIMITS)
    guard.check(HOME + np.array([0.05, 0.01, 0, 0, *(0,) * 6]), HOME, 0.0)
    guard.stop("the red button")
    for step in range(1, 4):
        verdict = guard.check(HOME + 1, HOME, step / HZ)
        assert verdict.command is not None
        assert verdict.is_holding
        np.testing.assert_allclose(verdict.command[:2], [0.0, 0.01])
        assert "the red button" in verdict.trips[0].detail
    moved = HOME + np.array([0, 0.2, *(0,) * 8])
    guard.release()
    verdict = guard.check(moved, moved, 4 / HZ)
    assert verdict.command is not None
    assert not verdict.is_holding
    np.testing.assert_allclose(verdict.command[:3], moved[:3])
    assert guard.counts["stop"] == 3


def test_a_robot_that_is_out_of_range_or_unknown_is_sent_nothing() -> None:
    outside = HOME + np.array([0, 0.6, *(0,) * 8])
    verdict = SafetyFilter(ROBOT, LIMITS).check(HOME, outside, 0.0)
    assert verdict.command is None
    assert verdict.trips[0].kind == "range"
    guard = SafetyFilter(ROBOT, SafetyLimits.unknown(ROBOT.action))
    passed = guard.check(np.full(10, 0.3), HOME, 0.0)
    assert passed.command is not None
    assert guard.hold(HOME, 1 / HZ).command is None
    assert guard.check(np.full(10, math.nan), HOME, 2 / HZ).command is None


def test_a_trip_that_goes_on_is_told_once_and_counted_always(caplog: pytest.LogCaptureFixture) -> None:
    guard = SafetyFilter(ROBOT, LIMITS)
    with caplog.at_level(logging.DEBUG, "tau0.serve.safety"):
        for step in range(5):
            guard.check(HOME + np.array([0, 0, 0, 9, *(0,) * 6]), HOME, step / HZ)
    assert [record.levelname for record in caplog.records] == ["WARNING", *["DEBUG"] * 4]
    assert "grip 9.5 -> 0.2" in caplog.text
    assert guard.counts["gripper"] == 5


def test_limits_that_cannot_be_are_refused() -> None:
    for change, words in (
        ({"speed": (1.0,)}, "one entry for each"),
        ({"step_size": (0.0, *(1.0,) * 9)}, "step_size holds 0.0"),
        ({"max_age_s": math.nan}, "max_age_s"),
        ({"low": (0.3, *(None,) * 9)}, "which is no range"),
        ({"rotations": (5,)}, "rotation-6D at 5"),
        ({"speed": (*(None,) * 9, 1.0)}, "limited by turn_speed"),
    ):
        with pytest.raises(ContractError, match=words):
            replace(LIMITS, **change)
    with pytest.raises(ContractError, match="nothing stands still"):
        LIMITS.check(replace(ROBOT.action, low=(0.5, *ROBOT.action.low[1:])))
    with pytest.raises(ContractError, match="control rate"):
        SafetyFilter(ROBOT, LIMITS, rate_hz=0.0)
    with pytest.raises(ContractError, match="are for 10 numbers"):
        SafetyFilter(replace(ROBOT, action=replace(ROBOT.action, names=("x",), low=(0.0,), high=(1.0,), gripper=())), LIMITS)


def test_worlds_have_limits_and_their_experts_meet_none() -> None:
    from tau0.worlds.metaworld import EMBODIMENT

    assert known_limits(EMBODIMENT) is not None
    assert known_limits(ROBOT) is None
    assert limits_of(ROBOT) == SafetyLimits.unknown(ROBOT.action)
    guard, state, rng = SafetyFilter(EMBODIMENT, limits_of(EMBODIMENT)), np.array([0.0, 0.6, 0.2, 1.0]), np.random.default_rng(0)
    for step in range(100):
        command = rng.choice([-1.0, 1.0], 4)
        assert guard.check(command, state, step / EMBODIMENT.control_hz).trips == ()


def test_rotations_are_those_of_geometry() -> None:
    import torch

    from tau0 import geometry

    rng = np.random.default_rng(0)
    for _ in range(30):
        first, second = rng.normal(size=(2, 6))
        for six in (first, second):
            expected = geometry.rotation_6d_to_matrix(torch.from_numpy(six)).numpy()
            ours = rotation_of(six)
            assert ours is not None
            np.testing.assert_allclose(ours, expected, atol=1e-12)
        a, b = rotation_of(first), rotation_of(second)
        assert a is not None
        assert b is not None
        turn = turn_between(a, b)
        np.testing.assert_allclose(turn, geometry.matrix_to_rotation_vector(torch.from_numpy(a.T @ b)).numpy(), atol=1e-9)
        np.testing.assert_allclose(turned(a, turn), b, atol=1e-9)
    half = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(turned(np.eye(3), turn_between(np.eye(3), half)), half, atol=1e-9)
    assert rotation_of(np.zeros(6)) is None
    assert rotation_of(np.array([1.0, 2, 3, 2, 4, 6])) is None
    assert rotation_of(np.array([1e300, 0, 0, 0, 1e300, 0])) is not None


def test_a_robot_needs_no_torch() -> None:
    import subprocess

    code = "import sys, tau0.serve.safety; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
