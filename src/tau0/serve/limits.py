"""How much one client, and all of them together, may ask of the server."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tau0.contract import Embodiment

MIN_MESSAGE_BYTES, MIN_RATE = 4 * 2**20, 200.0


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """Bounds on what clients can cost.

    Attributes:
        max_connections: Robots at once.
        max_waiting: Queries that wait for the model or are in it; one more is refused at once.
        max_candidates: Chunks a round that a connection may choose.
        max_message_bytes: A larger message ends its connection.
        messages_per_s: Of one connection, in the long run; twice as many may come at once.
        handshake_s: Time for a connection to say what it wants.
        ping_s: Time between signs of life that are asked for, and time to give one. Half a message is none.
        idle_s: Time without any message after which a connection ends.
        query_s: Time that a query may wait for its turn.
        drain_s: Time to end what was begun, when the server is told to end.
    """

    max_connections: int = 64
    max_waiting: int = 64
    max_candidates: int = 64
    max_message_bytes: int = MIN_MESSAGE_BYTES
    messages_per_s: float = MIN_RATE
    handshake_s: float = 10.0
    ping_s: float = 20.0
    idle_s: float = 600.0
    query_s: float = 30.0
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, it must be above 0 and finite")

    @classmethod
    def of(cls, embodiment: Embodiment) -> ServeLimits:
        """The usual ones: messages of four times an observation's size, so that a wrong size is told and not cut; four a control step."""
        pixels = sum(3 * camera.height * camera.width for camera in embodiment.cameras)
        return cls(max_message_bytes=max(MIN_MESSAGE_BYTES, 4 * pixels), messages_per_s=max(MIN_RATE, 4 * embodiment.control_hz))


class RateLimit:
    """A bucket of tokens: it fills at `per_s`, holds twice as many as come in a second, and every message takes one."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Full. The clock gives seconds."""
        self._per_s, self._clock = per_s, clock
        self._tokens, self._filled = 2 * per_s, clock()

    def take(self) -> bool:
        """Whether there was a token for this message."""
        now = self._clock()
        self._tokens = min(2 * self._per_s, self._tokens + (now - self._filled) * self._per_s)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
