"""A real server in a thread of its own, on a free port of the loopback address."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tau0.serve.access import Access
from tau0.serve.agents import Agents
from tau0.serve.limits import ServeLimits
from tau0.serve.protocol import PlannerChoice
from tau0.serve.recorder import Recorder
from tau0.serve.server import Server
from tau0.serve.service import Service

SINGLE = PlannerChoice(mode="single", candidates=1)


class Running:
    """A server that runs, and its insides."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self._access = service, access
        self.port = 0
        self._server = Server(service, access)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    @property
    def address(self) -> str:
        return f"{self._access.scheme}://127.0.0.1:{self.port}"

    def _run(self) -> None:
        async def start() -> None:
            self.port = await self._server.start()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.close()

    def run(self, work: Any) -> Any:
        """The outcome of a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def drain(self) -> None:
        self.run(self._server.drain())

    def end(self) -> None:
        self.drain()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)


@contextmanager
def serving(
    agents: Agents, limits: ServeLimits | None = None, access: Access | None = None, recorder: Recorder | None = None
) -> Iterator[Running]:
    """A running server with these agents, drained at the end."""
    running = Running(Service.of(agents, limits or ServeLimits(), recorder), access or Access(port=0))
    try:
        yield running
    finally:
        running.end()
