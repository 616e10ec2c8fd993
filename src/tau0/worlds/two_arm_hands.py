"""What a scripted expert knows of a hand, and the small motions it is made of. A hand points down, turned about the vertical."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tau0.worlds.two_arm_scene import Arm, Array, Scene

LEAD_M = 0.06
"""How far ahead of a hand its target may be. It sets the speed: at most some 2 cm a control step."""

LEAD_RAD = 0.5
_WRIST_LIMIT_RAD = 2.65
_WRIST_MIDDLE_RAD = np.pi / 4
_TURNING_COSTS = 0.5
_OPEN_FINGER_M = 0.04


@dataclass(frozen=True, kw_only=True)
class HandTarget:
    """Where a hand should be: position (metres) and rotation in the world, and its gripper from 0 (open) to 1 (closed)."""

    position: Array
    rotation: Array
    closed: float


@dataclass(frozen=True, kw_only=True)
class Hand:
    """One hand as it is now.

    Attributes:
        position: Between the fingertips, metres, shape (3,).
        turn: Angle about the vertical of the axis along which the fingers close, radians.
        wrist: Angle of the last joint, radians. It falls as `turn` grows.
        base: Position of the arm's base, shape (3,).
        closed: Gripper, 0 open to 1 closed.
        is_still: Whether the fingers have stopped moving.
        holds: Whether both fingertips touch the object and have stopped.
    """

    position: Array
    turn: float
    wrist: float
    base: Array
    closed: float
    is_still: bool
    holds: bool

    @classmethod
    def of(cls, scene: Scene, arm: Arm, thing: frozenset[int]) -> Hand:
        """The hand of `arm`, holding any of the geometries `thing` or not."""
        axis = scene.data.site_xmat[arm.hand].reshape(3, 3)[:, 0]
        is_still = float(np.abs(scene.data.qvel[arm.finger_dofs]).max()) < 0.02
        return cls(
            position=scene.data.site_xpos[arm.hand].copy(),
            turn=float(np.arctan2(axis[1], axis[0])),
            wrist=float(scene.data.qpos[arm.joints[-1]]),
            base=arm.base_position,
            closed=1.0 - float(np.abs(scene.data.qpos[arm.fingers]).mean()) / _OPEN_FINGER_M,
            is_still=is_still,
            holds=is_still and scene.is_held(arm, thing),
        )

    def level_distance(self, place: Array) -> float:
        """Metres to `place`, seen from above."""
        return float(np.linalg.norm(place[:2] - self.position[:2]))

    def wrist_after(self, turn: float, place: Array) -> float:
        """The last joint's angle once the hand is at `place`, turned to `turn` from its present turn without going round."""
        swing = _bearing(place - self.base) - _bearing(self.position - self.base)
        return self.wrist + swing - (turn - self.turn)

    def nearest_turn(self, turn: float, place: Array) -> float:
        """Of the turns that equal `turn` for a gripper, whose fingers may change sides: the one that suits the wrist best.

        The answer may lie beyond pi: it says which way round to go.
        """
        first = turn - np.pi * round((turn - self.turn) / np.pi)
        candidates = [first + np.pi * k for k in (-2, -1, 0, 1, 2)]
        return min(candidates, key=lambda angle: self.strain(angle, place))

    def way_round(self, turn: float, place: Array) -> float:
        """`turn`, or a whole turn more or less: the way round that suits the wrist best."""
        first = turn - 2 * np.pi * round((turn - self.turn) / (2 * np.pi))
        return min([first + 2 * np.pi * k for k in (-1, 0, 1)], key=lambda angle: self.strain(angle, place))

    def strain(self, turn: float, place: Array) -> float:
        """What turning to `turn` at `place` costs: far from the wrist's middle, far to turn, and prohibitive beyond its limit."""
        wrist = self.wrist_after(turn, place)
        beyond = max(0.0, abs(wrist) - _WRIST_LIMIT_RAD)
        return abs(wrist - _WRIST_MIDDLE_RAD) + _TURNING_COSTS * abs(turn - self.turn) + 100.0 * beyond

    def towards(self, place: Array, turn: float, closed: float, lead_m: float = LEAD_M) -> HandTarget:
        """The next target on the straight way to `place` and `turn`."""
        way, angle = place - self.position, float(np.clip(turn - self.turn, -LEAD_RAD, LEAD_RAD))
        length = float(np.linalg.norm(way))
        step = way if length <= lead_m else way * (lead_m / length)
        return HandTarget(position=self.position + step, rotation=pointing_down(self.turn + angle), closed=closed)

    def stays(self, closed: float) -> HandTarget:
        """Where it is, as it is, with the gripper at `closed`."""
        return HandTarget(position=self.position, rotation=pointing_down(self.turn), closed=closed)


def pointing_down(turn: float) -> Array:
    """The rotation of a hand that points down, its fingers closing along the horizontal direction `turn` (radians)."""
    c, s = np.cos(turn), np.sin(turn)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


def turned(angle: float) -> float:
    """An angle between -pi and pi."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _bearing(way: Array) -> float:
    return float(np.arctan2(way[1], way[0]))
