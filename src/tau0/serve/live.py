"""What the live page knows of the robots: the last thing that each has said. Nothing is copied or drawn until somebody looks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tau0.contract import Candidates, Decision, Observation

Push = Callable[[bytes], Awaitable[None]]
MAX_POINTS = 240
"""Decisions whose progress and time are kept of one robot."""


@dataclass(kw_only=True, eq=False)
class RobotView:
    """One connected robot, as far as it has been heard.

    Attributes:
        id: Of its session.
        number: Counts the robots that this server has seen, from 1.
        push: Tells the robot what answers no message of it.
        version: Changes with everything below.
        observation: The last that it has sent.
        decision: The last that it has got.
        latency_ms: (waited for the model, worked) of the last decisions.
        progress: (control step, imagined progress of the chunk that was chosen, at its end) of this episode.
        trips: Times that each of its safety limits intervened.
        is_paused: Somebody has it hold.
    """

    id: str
    number: int
    push: Push
    version: int = 0
    observation: Observation | None = None
    decision: Decision | None = None
    latency_ms: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_POINTS))
    progress: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MAX_POINTS))
    trips: Counter[str] = field(default_factory=Counter)
    is_paused: bool = False


class Live:
    """All connected robots. For the server's event loop alone."""

    def __init__(self) -> None:
        """Nobody has connected."""
        self.robots: dict[str, RobotView] = {}
        self._count = 0

    def joined(self, robot: str, push: Push) -> RobotView:
        """A robot has connected."""
        self._count += 1
        self.robots[robot] = RobotView(id=robot, number=self._count, push=push)
        return self.robots[robot]

    def left(self, robot: str) -> None:
        """It has gone, and is forgotten."""
        self.robots.pop(robot, None)


def decided(view: RobotView, observation: Observation, decision: Decision, queue_ms: float, work_ms: float) -> None:
    """Notes a decision and the time that it took, in milliseconds."""
    view.observation, view.decision = observation, decision
    view.latency_ms.append((queue_ms, work_ms))
    progress = chosen_round(decision).progress
    if progress is not None:
        view.progress.append((observation.step, float(progress[decision.chosen, -1])))
    view.version += 1


def saw(view: RobotView, observation: Observation) -> None:
    """Notes what the robot sees between decisions."""
    view.observation = observation
    view.version += 1


def tripped(view: RobotView, trips: Mapping[str, int]) -> None:
    """Notes what its safety filter did; `trips` has names of known limits."""
    if trips:
        view.trips.update(trips)
        view.version += 1


def restarted(view: RobotView) -> None:
    """Another episode begins."""
    view.observation, view.decision = None, None
    view.progress.clear()
    view.version += 1


def chosen_round(decision: Decision) -> Candidates:
    """The round from which the chunk was chosen."""
    return decision.revision if decision.choice == "revised" and decision.revision is not None else decision.proposals
