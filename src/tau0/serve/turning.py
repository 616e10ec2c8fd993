"""How fast one rotation of a robot may turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.limits import Violation
from tau0.serve.rotations import rotation_of, six_numbers, turn_between, turned

Array = NDArray[np.float64]

REPAIRED = 0.1
"""A rotation-6D of which no number has to move further than this to make it a rotation counts as one: a network's never are exact."""
SLACK = 1e-7


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A rotation to be sent, (3, 3), and the rotation vector by which it differs from the one before, (3,)."""

    rotation: Array
    turn: Array

    @property
    def numbers(self) -> Array:
        """As rotation-6D."""
        return six_numbers(self.rotation)


class Turning:
    """One rotation-6D among the numbers of a command: what was sent last, and how fast it turns.

    Attributes:
        numbers: Which ones.
    """

    def __init__(self, start: int, speed: float | None, acceleration: float | None, period_s: float) -> None:
        """Limits in radians a second (squared), None for none; control steps of `period_s` seconds."""
        self.numbers = slice(start, start + 6)
        self._most = math.pi if speed is None else speed * period_s
        self._change = 2 * math.pi if acceleration is None else acceleration * period_s**2
        self._rotation, self._turn = np.eye(3), np.zeros(3)

    def reads(self, command: Array) -> Array | None:
        """The rotation in a whole command or state, (3, 3); None where there is none."""
        return rotation_of(command[self.numbers])

    def start(self, state: Array) -> Array:
        """Begins at rest where the robot is: the six numbers of that, shape (6,)."""
        rotation = self.reads(state)
        assert rotation is not None
        self.sent(self._exact(rotation, np.zeros(3)))
        return six_numbers(self._rotation)

    def stand(self) -> None:
        """Stops turning at once."""
        self._turn = np.zeros(3)

    def limited(self, command: Array) -> tuple[Turn, list[Violation]]:
        """What may be sent instead, and what was wrong. The command holds a rotation (`reads`)."""
        wanted = self.reads(command)
        assert wanted is not None
        kinds: list[Violation] = []
        if np.abs(six_numbers(wanted) - command[self.numbers]).max() > REPAIRED:
            kinds.append("rotation")
        asked = turn_between(self._rotation, wanted)
        if np.linalg.norm(asked) > self._most * (1 + SLACK):
            kinds.append("speed")
        if np.linalg.norm(asked - self._turn) > self._change * (1 + SLACK) + SLACK:
            kinds.append("acceleration")
        eased = self._turn + _shortened(_shortened(asked, self._most) - self._turn, self._change)
        is_free = np.linalg.norm(eased - asked) <= SLACK
        return self._exact(wanted if is_free else turned(self._rotation, eased), eased), kinds

    def braked(self) -> Turn:
        """Turning on as little as the acceleration allows."""
        turn = self._turn - _shortened(self._turn, self._change)
        return self._exact(turned(self._rotation, turn), turn)

    def sent(self, turn: Turn) -> None:
        """This is what the robot was told."""
        self._rotation, self._turn = turn.rotation, turn.turn

    @staticmethod
    def _exact(rotation: Array, turn: Array) -> Turn:
        exact = rotation_of(six_numbers(rotation))
        assert exact is not None
        return Turn(rotation=exact, turn=turn)


def _shortened(vector: Array, most: float) -> Array:
    """The vector, no longer than `most`."""
    length = float(np.linalg.norm(vector))
    return vector if length <= most else vector * (most / length)
