"""Each limit by its name: what it changes, what it lets through, and which limits cannot be."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guarded_arm import HOME, HZ, LIMITS, ROBOT

from tau0.contract import ContractError
from tau0.limits import SafetyLimits
from tau0.serve.safety import SafetyFilter
from tau0.worlds.registry import known_limits, limits_of


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


def test_a_robot_needs_no_torch() -> None:
    code = "import sys, tau0.serve.safety; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
