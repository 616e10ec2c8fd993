"""The arithmetic of safety limits: from a wanted command to the nearest one that may be sent. Pure, numpy only.

All limits of one number become an interval of its velocity in this control step. Command range, speed and the way that is left to a wall
are intervals around 0: standing still is always allowed, so they never contradict each other. The last velocity and the acceleration give
one more. It comes second, so that only braking can be harder than the acceleration allows, and only where a wall asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ActionSpec
from tau0.limits import Bounds, SafetyLimits

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FAR = 1e9
"""Stands for no limit; no state or command of a robot is larger."""
SLACK = 1e-9
"""Relative difference below which two velocities are one."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one control step sends.

    Attributes:
        command: Within the limits, shape (da,).
        velocity: Of the state, or of the command for an effort, in units a second, shape (da,).
        bounds: Which numbers left the action's own range.
        reached: Which would have left the range of the state, or could not have stopped before its end.
        speed: Which were too fast.
        acceleration: Which changed their speed too fast.
    """

    command: Array
    velocity: Array
    bounds: Mask
    reached: Mask
    speed: Mask
    acceleration: Mask


class Envelope:
    """Limits of all numbers of a command, except that rotations are only kept to the action's range."""

    def __init__(self, action: ActionSpec, limits: SafetyLimits, period_s: float) -> None:
        """Limits for control steps of `period_s` seconds. Raises `ContractError` when they are not for such actions."""
        limits.check(action)
        self.period_s = period_s
        self.low, self.high = (np.clip(np.asarray(side, np.float64), -FAR, FAR) for side in (action.low, action.high))
        self.is_step = np.array([meaning == "step" for meaning in limits.meaning])
        self.is_position = np.array([meaning == "position" for meaning in limits.meaning])
        self._scale = np.asarray(limits.step_size, np.float64)
        self._speed, self._acceleration = _known(limits.speed, FAR / period_s), _known(limits.acceleration, np.inf)
        own_low, own_high = _known(limits.low, -FAR), _known(limits.high, FAR)
        self.wall_low = np.where(self.is_step, own_low, np.maximum(own_low, self.low))
        self.wall_high = np.where(self.is_step, own_high, np.minimum(own_high, self.high))

    def start(self, state: Array) -> Array | None:
        """The position nearest to `state` that may be commanded; None where the way there is longer than one control step may go."""
        inside = np.clip(state, self.wall_low, self.wall_high)
        too_far = np.abs(inside - state) > self._speed * self.period_s * (1 + SLACK)
        return None if (too_far & self.is_position).any() else inside

    def limited(self, wanted: Array, anchor: Array, last_velocity: Array) -> Step:
        """The nearest command to `wanted`.

        Args:
            wanted: Finite, shape (da,).
            anchor: What a command is measured from, shape (da,), at most `FAR`: the state for a step, otherwise the last command.
            last_velocity: Of the control step before, shape (da,).
        """
        command = np.clip(wanted, self.low, self.high)
        asked = self._velocity(command, anchor)
        reach_low, reach_high = -self._approach(anchor - self.wall_low), self._approach(self.wall_high - anchor)
        change = self._acceleration * self.period_s
        eased = np.clip(asked, last_velocity - change, last_velocity + change)
        low, high = np.maximum(reach_low, -self._speed), np.minimum(reach_high, self._speed)
        reached = (asked < reach_low - _slack(asked)) | (asked > reach_high + _slack(asked))
        velocity = np.clip(eased, low, high)
        is_changed = np.abs(velocity - asked) > _slack(asked)
        return Step(
            command=np.where(is_changed, self._command(velocity, anchor), command),
            velocity=velocity,
            bounds=wanted != command,
            reached=reached,
            speed=np.abs(asked) > self._speed + _slack(asked),
            acceleration=np.abs(asked - last_velocity) > change + _slack(asked),
        )

    def _velocity(self, command: Array, anchor: Array) -> Array:
        return np.where(self.is_step, self._scale * command, command - anchor) / self.period_s

    def _command(self, velocity: Array, anchor: Array) -> Array:
        """Inverse of `_velocity`, within the action's range and the walls to the last digit."""
        way = velocity * self.period_s
        position = np.clip(anchor + way, self.wall_low, self.wall_high)
        return np.clip(np.where(self.is_step, way / self._scale, position), self.low, self.high)

    def _approach(self, distance: Array) -> Array:
        """The fastest that a wall may be approached, so that braking ends before it: `v T + v^2 / 2a = distance`; 0 at and behind it."""
        left, period = np.clip(distance, 0.0, 2 * FAR), self.period_s
        return 2 * left / (period + np.sqrt(period**2 + 2 * left / self._acceleration))


def _known(bounds: Bounds, absent: float) -> Array:
    return np.array([absent if bound is None else bound for bound in bounds], np.float64)


def _slack(velocity: Array) -> Array:
    return SLACK * (1 + np.abs(velocity))
