"""Between model and robot, always on: no input whatever produces a command outside the limits. Numpy only.

One filter belongs to one robot. Its loop calls `check` with each control step's command, or `hold` where there is none, and sends
`Verdict.command` and nothing else; None means that nothing may be sent. Every trip is counted, and logged with its numbers.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ContractError, Embodiment
from tau0.limits import SafetyLimits, Violation
from tau0.serve.envelope import FAR, Envelope, Mask, Step
from tau0.serve.turning import Turn, Turning

Array = NDArray[np.float64]
Kind = Literal[Violation, "watchdog", "stop"]
KINDS: tuple[Kind, ...] = (*get_args(Violation), "watchdog", "stop")

SHORTEST_STEP = 0.5
"""Share of a control step before which no second command may follow: at twice the rate a robot would go at twice the speed."""

_LOG = logging.getLogger("tau0.serve.safety")


@dataclass(frozen=True, kw_only=True)
class Trip:
    """One limit that was met in one control step.

    Attributes:
        kind: Which one.
        at: Time of the control step, seconds.
        detail: What happened, in words and numbers.
        numbers: By name of the action's number, what was wanted and what was sent instead; empty where that is no matter of numbers.
    """

    kind: Kind
    at: float
    detail: str
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to send in this control step.

    Attributes:
        command: Within the limits, float64 of shape (da,); None where nothing may be sent.
        is_holding: Whether the robot was told to stand still (or to come to a stand) instead of what was wanted.
        trips: Every limit that was met.
    """

    command: Array | None
    is_holding: bool
    trips: tuple[Trip, ...] = ()


class SafetyFilter:
    """Limits one robot's commands. Any thread may call any method."""

    def __init__(self, embodiment: Embodiment, limits: SafetyLimits, rate_hz: float | None = None) -> None:
        """A filter at rest that has not seen the robot yet.

        Args:
            embodiment: Names and range of the action.
            limits: Of the same robot.
            rate_hz: Control steps a second, the embodiment's unless given. Speeds follow from it.

        Raises:
            ContractError: When limits, actions and rate do not fit together.
        """
        rate = embodiment.control_hz if rate_hz is None else rate_hz
        if not 0 < rate < math.inf:
            raise ContractError(f"the control rate must be above 0 and finite, got {rate} Hz")
        self._action, self._limits, self._period_s = embodiment.action, limits, 1.0 / rate
        self._envelope = Envelope(embodiment.action, limits, self._period_s)
        self._turning = tuple(Turning(start, limits.turn_speed, limits.turn_acceleration, self._period_s) for start in limits.rotations)
        self._is_known = "unknown" not in limits.meaning
        self._lock = threading.Lock()
        self._counts: Counter[Kind] = Counter()
        self._going_on: set[Kind] = set()
        self._stopped = ""
        self._last: Array | None = None
        self._rest = np.clip(np.zeros(embodiment.action.dim), self._envelope.low, self._envelope.high)
        self._state = np.zeros(embodiment.action.dim)
        self._velocity = np.zeros(embodiment.action.dim)
        self._now = self._commanded_at = -math.inf

    @property
    def counts(self) -> dict[Kind, int]:
        """Control steps in which each limit was met, since the filter was made."""
        with self._lock:
            return {kind: self._counts[kind] for kind in KINDS}

    @property
    def is_stopped(self) -> bool:
        """Whether an emergency stop holds."""
        return bool(self._stopped)

    def stop(self, reason: str) -> None:
        """Emergency stop: the robot holds at once, whatever is commanded, until `release`."""
        self._stopped = reason or "no reason given"

    def release(self) -> None:
        """Ends an emergency stop. What was commanded before is forgotten: the robot goes on from where it is."""
        self.reset()
        self._stopped = ""

    def reset(self) -> None:
        """A new episode: the robot may have been moved. Counts, efforts and an emergency stop stay."""
        with self._lock:
            if self._last is not None:
                self._rest, self._last = self._last, None
            self._velocity = np.zeros_like(self._velocity)
            for turning in self._turning:
                turning.stand()

    def check(self, command: Any, state: Any, now: float, *, observed_at: float | None = None) -> Verdict:
        """What to send instead of `command`.

        Args:
            command: What the model wants in this control step, shape (da,), in robot units. May be anything.
            state: Proprioception now, shape (da,). May be anything.
            now: Seconds, by any clock that goes on steadily.
            observed_at: When the observation was taken from which the command follows, by the same clock; None for now.
        """
        with self._lock:
            trips, is_blind = self._look(state, now)
            wanted = _numbers(command, self._action.dim)
            if wanted is None:
                trips.append(self._trip("command", f"a command of {_described(command)}, expected {self._action.dim} finite numbers"))
            age = 0.0 if observed_at is None else now - observed_at
            if not -self._period_s <= age <= self._limits.max_age_s:
                trips.append(self._trip("stale", f"an observation {age:g} s old, at most {self._limits.max_age_s:g} s are allowed"))
            if wanted is not None and any(turning.reads(wanted) is None for turning in self._turning):
                trips.append(self._trip("rotation", f"six numbers that are no rotation: {wanted.tolist()}"))
            if wanted is None or trips:
                return self._held(trips, is_blind)
            self._commanded_at = self._now
            step, turns, trips = self._limited(wanted)
            if any(trip.kind in self._limits.refuses for trip in trips):
                return self._held(trips, is_blind=False)
            return self._sent(step, turns, trips, is_holding=False)

    def hold(self, state: Any, now: float) -> Verdict:
        """What to send in a control step without a command. The watchdog counts how often that lasted too long."""
        with self._lock:
            trips, is_blind = self._look(state, now)
            silent = self._now - self._commanded_at
            if not silent <= self._limits.watchdog_s and "watchdog" not in self._going_on and math.isfinite(self._commanded_at):
                trips.append(self._trip("watchdog", f"no command for {silent:g} s, the robot holds"))
            return self._held(trips, is_blind)

    def _look(self, state: Any, now: float) -> tuple[list[Trip], bool]:
        """Clock, state and stop. Also says whether nothing may be believed, so that the robot stands at once instead of braking."""
        trips, last = [], self._now
        self._now = now if math.isfinite(now) else last
        if not (math.isfinite(now) and now - last >= SHORTEST_STEP * self._period_s):
            trips.append(self._trip("clock", f"a control step at {now:g} s after one at {last:g} s, expected {self._period_s:g} s"))
        seen = _numbers(state, self._action.dim)
        if seen is None or np.abs(seen).max(initial=0.0) > FAR:
            trips.append(self._trip("state", f"a state of {_described(state)}, expected {self._action.dim} finite numbers"))
        else:
            self._state = seen
            self._anchor(trips)
        if self._stopped:
            trips.append(self._trip("stop", f"emergency stop: {self._stopped}"))
        return trips, bool(trips)

    def _anchor(self, trips: list[Trip]) -> None:
        """The first command is measured from where the robot is."""
        if self._last is not None:
            return
        start = self._envelope.start(self._state)
        if start is None or any(turning.reads(self._state) is None for turning in self._turning):
            trips.append(self._trip("range", f"the robot itself is out of range, at {self._state.tolist()}: move it by hand"))
            return
        self._last = np.where(self._envelope.is_position, start, self._rest)
        for turning in self._turning:
            self._last[turning.numbers] = turning.start(self._state)

    def _limited(self, wanted: Array) -> tuple[Step, list[Turn], list[Trip]]:
        """The nearest command that may be sent, and what had to be changed."""
        step = self._envelope.limited(wanted, self._from(), self._velocity)
        trips, turns = [], []
        for turning in self._turning:
            turn, kinds = turning.limited(wanted)
            turns.append(turn)
            step.command[turning.numbers], step.bounds[turning.numbers] = turn.numbers, False
            numbers = self._named(np.arange(self._action.dim)[turning.numbers], wanted, step.command)
            trips += [self._trip(kind, "a rotation", numbers) for kind in kinds]
        is_gripper = np.isin(np.arange(self._action.dim), self._action.gripper)
        of_grippers = (step.bounds | step.reached | step.speed | step.acceleration) & is_gripper
        masks: dict[Kind, Mask] = {"bounds": step.bounds, "range": step.reached, "speed": step.speed, "acceleration": step.acceleration}
        for kind, met in masks.items():
            masks[kind] = met & ~is_gripper
        masks["gripper"] = of_grippers
        for kind, mask in masks.items():
            if mask.any():
                trips.append(self._trip(kind, "limited", self._named(np.flatnonzero(mask), wanted, step.command)))
        return step, turns, trips

    def _held(self, trips: list[Trip], is_blind: bool) -> Verdict:
        """The robot brakes as hard as it may, and then holds. Where nothing can be believed it stands at once."""
        if self._last is None or not self._is_known:
            return self._verdict(None, trips, is_holding=True)
        stand = np.where(self._envelope.is_step, 0.0, self._last)
        if is_blind:
            self._last, self._velocity = stand, np.zeros_like(self._velocity)
            for turning in self._turning:
                turning.stand()
            return self._verdict(stand, trips, is_holding=True)
        step, turns = self._envelope.limited(stand, self._from(), self._velocity), [turning.braked() for turning in self._turning]
        for turning, turn in zip(self._turning, turns, strict=True):
            step.command[turning.numbers] = turn.numbers
        return self._sent(step, turns, trips, is_holding=True)

    def _from(self) -> Array:
        """What a command is measured from: the state for a step, otherwise the last command."""
        assert self._last is not None
        return np.where(self._envelope.is_step, self._state, self._last)

    def _sent(self, step: Step, turns: list[Turn], trips: list[Trip], *, is_holding: bool) -> Verdict:
        self._velocity, self._last = step.velocity, step.command
        for turning, turn in zip(self._turning, turns, strict=True):
            turning.sent(turn)
        return self._verdict(step.command, trips, is_holding=is_holding)

    def _verdict(self, command: Array | None, trips: list[Trip], *, is_holding: bool) -> Verdict:
        """Counts and logs: aloud when a kind of trip begins, and in detail while it goes on."""
        kinds: set[Kind] = {trip.kind for trip in trips}
        self._counts.update(kinds)
        for trip in trips:
            level = logging.DEBUG if trip.kind in self._going_on else logging.WARNING
            told = "".join(f", {name} {wanted:g} -> {sent:g}" for name, (wanted, sent) in trip.numbers.items())
            _LOG.log(level, "safety trip %s at %.3f s: %s%s", trip.kind, trip.at, trip.detail, told)
        if "watchdog" in self._going_on and is_holding:
            kinds.add("watchdog")
        self._going_on = kinds
        return Verdict(command=None if command is None else command.copy(), is_holding=is_holding, trips=tuple(trips))

    def _named(self, indices: NDArray[np.intp], wanted: Array, sent: Array) -> dict[str, tuple[float, float]]:
        return {self._action.names[i]: (float(wanted[i]), float(sent[i])) for i in indices}

    def _trip(self, kind: Kind, detail: str, numbers: Mapping[str, tuple[float, float]] | None = None) -> Trip:
        return Trip(kind=kind, at=self._now, detail=detail, numbers=numbers or {})


def _numbers(given: Any, dim: int) -> Array | None:
    """Finite float64 numbers of shape (dim,); None for anything else."""
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "fiub" or array.shape != (dim,):
            return None
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _described(given: Any) -> str:
    """Type, shape and numbers, of anything, in at most a line."""
    if isinstance(given, np.ndarray):
        return f"{given.dtype} {given.shape} {np.array2string(given.ravel()[:32], threshold=32, max_line_width=10_000)}"
    return f"{type(given).__name__} {str(given)[:80]!r}"
