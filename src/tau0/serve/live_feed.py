"""The live page's websocket. The page asks for every view, so a slow one gets fewer; nothing waits for it but itself."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tau0.serve.fields import named, only, text
from tau0.serve.limits import RateLimit
from tau0.serve.live import RobotView
from tau0.serve.live_view import snapshot
from tau0.serve.logs import event
from tau0.serve.service import Service

PERIOD_S, MAX_MESSAGE, MESSAGES_PER_S, MAX_PAGES, MAX_WORDS = 0.1, 1000, 30.0, 8, 60
"""Shortest time between two views of one page in seconds; longest message of a page in characters; messages a second; pages at once;
most characters of the instructions by which robots are told apart."""

_MESSAGES = ("look", "choose", "pause", "go", "stop", "resume")
_POLICY_VIOLATION = 1008


class Feed:
    """One page that somebody looks at."""

    def __init__(self, service: Service, connection: ServerConnection, drawing: ThreadPoolExecutor) -> None:
        """Shows the robot that connected first. Pictures are drawn in `drawing`."""
        self._service, self._connection, self._drawing = service, connection, drawing
        self._wanted = asyncio.Event()
        self._chosen = ""

    async def run(self) -> None:
        """Shows and obeys until the page is gone, or says what no page of ours says."""
        showing, rate = asyncio.ensure_future(self._show()), RateLimit(MESSAGES_PER_S)
        try:
            async for data in self._connection:
                if not isinstance(data, str) or not rate.take():
                    raise ValueError("messages are text, and few")
                self._obey(data)
        except (ValueError, RecursionError) as error:
            event("page refused", reason=str(error))
            await self._connection.close(_POLICY_VIOLATION, "this is no message of the page")
        except ConnectionClosed:
            pass
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)

    def _obey(self, data: str) -> None:
        """Does at once what a message says. Raises `ValueError` for what is none."""
        message = json.loads(text("a message", data, MAX_MESSAGE))
        only("a message", message, ("type",), ("robot",))
        kind = named("type", message["type"], _MESSAGES)
        robot = text("robot", message.get("robot", ""), 64)
        if kind == "look":
            self._wanted.set()
        elif kind == "choose":
            self._chosen = robot
        elif kind in ("stop", "resume"):
            self._service.set_stop("somebody at the live page" if kind == "stop" else None)
        elif robot in self._service.live.robots:
            self._service.set_pause(self._service.live.robots[robot], is_paused=kind == "pause")

    async def _show(self) -> None:
        """Answers every look with a view, as soon as there is news and `PERIOD_S` has passed."""
        known: Any = None
        while True:
            await self._wanted.wait()
            await asyncio.sleep(PERIOD_S)
            view, common = self._view(), self._common()
            state = (common, None if view is None else (view.id, view.version))
            if state == known:
                continue
            known = state
            self._wanted.clear()
            shown = snapshot(view, common)
            await self._connection.send(await asyncio.get_running_loop().run_in_executor(self._drawing, shown.text))

    def _view(self) -> RobotView | None:
        robots = self._service.live.robots
        return robots.get(self._chosen) or next(iter(robots.values()), None)

    def _common(self) -> dict[str, Any]:
        service = self._service
        return {
            "checkpoint": service.metadata.checkpoint,
            "stop": service.stop,
            "robots": [
                {
                    "id": view.id,
                    "number": view.number,
                    "paused": view.is_paused,
                    "instruction": "" if view.observation is None else view.observation.instruction[:MAX_WORDS],
                }
                for view in service.live.robots.values()
            ],
        }
