"""When a robot holds: old observations, odd clocks, a stalled stream, an emergency stop, and what is told of it."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from guarded_arm import HOME, HZ, LIMITS, ROBOT

from tau0.limits import SafetyLimits
from tau0.serve.safety import SafetyFilter


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
