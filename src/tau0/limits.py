"""What a robot may be told: limits that belong to its contract, and that `tau0.serve.safety` keeps. No torch.

A control step has a command, one number for each of the action's; what the number means decides how it is limited and what holding is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tau0.contract import ActionSpec, ContractError

Meaning = Literal["position", "step", "effort", "unknown"]
Violation = Literal["command", "state", "clock", "stale", "rotation", "bounds", "gripper", "range", "speed", "acceleration"]
Bounds = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class SafetyLimits:
    """Between model and robot: what may be commanded, number by number; None where there is no limit. The action's own range always holds.

    Attributes:
        meaning: What each number of a command is. "position": where the state's number of the same index should go. "step": by how much
            it should change now. "effort": nothing that the state measures, such as a gripper's force; kept while the robot holds.
            "unknown": whoever described the robot did not say, so that there is no command which holds it still, and none is sent.
        step_size: What one unit of a step changes, in units of the state; 1 for all other numbers.
        low: Where the state may be sent, at least: the workspace of a hand, the range of a joint.
        high: The same, at most.
        speed: Largest change a second, in units of the state (of the command, for an effort).
        acceleration: Largest change of that speed a second. Holding and staying in range come first: a robot may brake harder.
        rotations: First index of each rotation-6D; its six numbers are positions, with no limits but the two that follow.
        turn_speed: Fastest turn of a rotation, radians a second.
        turn_acceleration: Largest change of that speed, radians a second squared.
        max_age_s: Oldest observation that a command may follow from: the delay of a query, and the time in which its chunk is executed.
        watchdog_s: Longest time without a command before that is reported. The robot holds from the first control step without one.
        refuses: Violations after which the robot holds; otherwise the nearest command within the limits is sent. A command that is not
            numbers, a bad state, a clock that goes wrong and an old observation always make it hold.
    """

    meaning: tuple[Meaning, ...]
    step_size: tuple[float, ...]
    low: Bounds
    high: Bounds
    speed: Bounds
    acceleration: Bounds
    rotations: tuple[int, ...] = ()
    turn_speed: float | None = None
    turn_acceleration: float | None = None
    max_age_s: float = 2.0
    watchdog_s: float = 0.5
    refuses: tuple[Violation, ...] = ()

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("meaning", "step_size", "low", "high", "speed", "acceleration")}
        if len(set(lengths.values())) > 1:
            raise ContractError(f"safety limits must have one entry for each number of the action, got {lengths}")
        for name in ("step_size", "speed", "acceleration", "turn_speed", "turn_acceleration", "max_age_s", "watchdog_s"):
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if value is not None and not 0 < value < math.inf:
                    raise ContractError(f"safety limits: {name} holds {value}, expected a number above 0, or none")
        for index, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not (-math.inf if low is None else low) < (math.inf if high is None else high):
                raise ContractError(f"safety limits: number {index} may go from {low} to {high}, which is no range")
        self._check_rotations()

    def _check_rotations(self) -> None:
        for start in self.rotations:
            numbers = range(start, start + 6)
            if start < 0 or numbers[-1] >= self.dim or any(self.meaning[i] != "position" for i in numbers):
                raise ContractError(f"safety limits: a rotation-6D at {start} needs six positions from there on, got {self.meaning}")
            if any(bounds[i] is not None for i in numbers for bounds in (self.low, self.high, self.speed, self.acceleration)):
                raise ContractError(f"safety limits: the rotation-6D at {start} is limited by turn_speed and turn_acceleration alone")

    @property
    def dim(self) -> int:
        """Numbers of an action."""
        return len(self.meaning)

    def check(self, action: ActionSpec) -> None:
        """Raises `ContractError` when these are not limits for such actions."""
        if self.dim != action.dim:
            raise ContractError(f"safety limits are for {self.dim} numbers, the action has {action.dim}: {action.names}")
        for name, meaning, low, high in zip(action.names, self.meaning, action.low, action.high, strict=True):
            if meaning == "step" and not low <= 0 <= high:
                raise ContractError(f"safety limits: {name!r} is a step from {low} to {high}, with which nothing stands still")
        for index in (start + i for start in self.rotations for i in range(6)):
            if action.low[index] > -1 or action.high[index] < 1:
                raise ContractError(f"safety limits: {action.names[index]!r} belongs to a rotation and must be allowed -1 to 1")

    @classmethod
    def unknown(cls, action: ActionSpec) -> SafetyLimits:
        """For a robot of which nothing but the range of its actions is known: in doubt nothing is sent."""
        none = (None,) * action.dim
        return cls(
            meaning=("unknown",) * action.dim, step_size=(1.0,) * action.dim, low=none, high=none, speed=none, acceleration=none
        )  # fmt: skip
