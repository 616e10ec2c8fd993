"""What all connections of a server share."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed

from tau0.serve import wire
from tau0.serve.agents import Agents
from tau0.serve.engine import Engine
from tau0.serve.limits import ServeLimits
from tau0.serve.live import Live, Push, RobotView
from tau0.serve.logs import event
from tau0.serve.metadata import Metadata
from tau0.serve.metrics import Metrics
from tau0.serve.protocol import RefusedError
from tau0.serve.recorder import Recorder

PAUSED = "paused at the live page"


@dataclass(kw_only=True, eq=False)
class Service:
    """The model, its queue, its limits, and whether robots may move.

    Attributes:
        agents: Make agents.
        engine: Owns the model's thread.
        limits: Of clients.
        metadata: What clients are told first.
        metrics: Counters.
        recorder: Keeps what robots report; None where nothing is kept.
        listeners: How to tell those clients that want to hear of stops.
        answering: Messages that are being answered.
        is_draining: The server is ending.
        stop: Why robots are stopped; None while they may move.
        live: What the live page knows.
    """

    agents: Agents
    engine: Engine
    limits: ServeLimits
    metadata: Metadata
    metrics: Metrics
    recorder: Recorder | None = None
    listeners: set[Push] = field(default_factory=set)
    answering: int = 0
    is_draining: bool = False
    stop: str | None = None
    live: Live = field(default_factory=Live)
    _telling: set[asyncio.Future[None]] = field(default_factory=set)

    @classmethod
    def of(cls, agents: Agents, limits: ServeLimits, recorder: Recorder | None = None) -> Service:
        """A service with nobody connected."""
        engine = Engine(limits.max_waiting, limits.query_s)
        metadata, metrics = agents.metadata(limits, recorder is not None), Metrics(lambda: engine.waiting)
        if recorder is not None:
            recorder.on_written = metrics.recorded
        return cls(agents=agents, engine=engine, limits=limits, metadata=metadata, metrics=metrics, recorder=recorder)

    def set_stop(self, reason: str | None) -> None:
        """Stops all robots, or lets them go on (None), and begins to tell everybody who listens; waits for nobody."""
        self.stop = reason
        self.metrics.is_stopped.set(reason is not None)
        event("stopped" if reason is not None else "resumed", reason=reason or "")
        paused = {view.push for view in self.live.robots.values() if view.is_paused}
        for push in self.listeners - (paused if reason is None else set()):
            self._tell(push, reason)

    def set_pause(self, view: RobotView, is_paused: bool) -> None:
        """Has one robot hold as a stop does, or go on unless all are stopped, and begins to tell it; waits for nobody."""
        view.is_paused = is_paused
        view.version += 1
        event("paused" if is_paused else "unpaused", session=view.id)
        if view.push in self.listeners and self.stop is None:
            self._tell(view.push, PAUSED if is_paused else None)

    def _tell(self, push: Push, stop: str | None) -> None:
        """Begins to tell one listener why it has to hold, or that it may go on (None)."""
        news: dict[str, Any] = {"type": "event", "event": "resumed" if stop is None else "stopped", "reason": stop or ""}
        task = asyncio.ensure_future(_told(push, wire.encode(news)))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def check_open(self) -> None:
        """Raises `RefusedError` when the server is ending and begins nothing any more."""
        if self.is_draining:
            raise RefusedError("draining", "the server is ending; hold still, and connect again")

    def check_moving(self, view: RobotView) -> None:
        """Raises `RefusedError` while robots are stopped, or this one is paused."""
        if self.stop is not None:
            raise RefusedError("stopped", f"robots are stopped{f': {self.stop}' if self.stop else ''}; hold still")
        if view.is_paused:
            raise RefusedError("stopped", f"this robot is {PAUSED}; hold still")


async def _told(push: Push, message: bytes) -> None:
    """Tells one listener. Whoever has gone is told nothing."""
    with contextlib.suppress(ConnectionClosed):
        await push(message)
