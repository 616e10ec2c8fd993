"""What client and server say to each other, as openpi's server does and with more. No torch.

The server speaks first, with its metadata. Then every message of the client gets one answer, in order, except a `Report`, which gets none.
A map without `type` is an observation in openpi's way and is answered by a map with `actions`, or by text, which openpi's client raises.
A map with `type` is one of ours, and its errors are maps of type "error".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tau0.contract import Embodiment, Float, Observation

VERSION = 1

MAX_GUIDANCE = 50.0
"""Ten times the published bound of real-time chunking (`tau0.policy.inpainting`): more is a mistake."""

Refusal = Literal[
    "malformed",
    "contract",
    "busy",
    "rate",
    "timeout",
    "stopped",
    "draining",
    "unavailable",
    "internal",
    "identity",
    "connections",
    "origin",
]
"""Why something is not done: "malformed" no message of ours; "contract" it does not fit the robot's; "busy" too many are waiting;
"rate" too many came in a second; "timeout" it waited too long; "stopped" somebody has stopped the robots; "draining" the server is
ending; "unavailable" this server cannot do that; "internal" a mistake of ours, in the log. At the door: "identity", "connections",
"origin"."""

Outcome = Literal["success", "failure"]
OUTCOMES: tuple[Outcome, ...] = ("success", "failure")


class RefusedError(Exception):
    """The server does not do what it was asked. `code` says which kind of reason, the text says which."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code: Refusal = code


class ConnectionLostError(ConnectionError):
    """There is no server, none any more, or it did not answer in time. A robot has to hold; `Client.connect` tries again."""


@dataclass(frozen=True, kw_only=True)
class PlannerChoice:
    """How one connection's chunks are chosen.

    Attributes:
        mode: The planner's, such as "single", "rcs" or "full".
        candidates: Chunks a round.
        budget_ms: Time of a decision; None for no limit.
        guidance: Strongest pull of real-time chunking toward what the robot is committed to, at most `MAX_GUIDANCE`; None for the
            published one. Nothing changes where the robot is committed to nothing.
    """

    mode: str
    candidates: int = 8
    budget_ms: float | None = None
    guidance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Observe:
    """Asks for a chunk.

    Attributes:
        observation: What the robot sees.
        has_step: Whether the client counts its control steps itself; otherwise the server does.
        wants_details: Whether the answer holds the whole decision.
        is_plain: Whether it came in openpi's way: without `type`.
    """

    observation: Observation
    has_step: bool
    wants_details: bool = False
    is_plain: bool = False


@dataclass(frozen=True, kw_only=True)
class Reset:
    """A new episode begins: everything about the last one is forgotten. `outcome` is the last one's, as far as anybody knows."""

    seed: int = 0
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class Configure:
    """How this connection is served from now on. What is None stays as it is.

    Attributes:
        planner: Another way to choose.
        embodiment: The robot at the other end, which has to be the checkpoint's.
        events: Whether this client hears of stops at once, by messages of type "event" that answer nothing.
    """

    planner: PlannerChoice | None = None
    embodiment: Embodiment | None = None
    events: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a robot saw and did in one control step, for the recorder, and what its safety filter did. Never answered.

    Attributes:
        observation: Before the action; None where only trips are told.
        action: Executed, robot units, shape (da,).
        trips: Times that each kind of limit has intervened since the last report.
    """

    observation: Observation | None
    action: Float | None
    trips: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Imagine:
    """Asks what would come of given actions: robot units, shape (n, ha, da). Decides nothing and is remembered by nobody."""

    observation: Observation
    actions: Float
    wants_frames: bool = True


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The emergency stop: no robot gets another action from this server until somebody resumes."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Ends a stop."""


Request = Observe | Reset | Configure | Report | Imagine | Stop | Resume
