"""The server: one port for robots, probes and people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server as WebsocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from tau0.serve import wire
from tau0.serve.access import Access
from tau0.serve.door import door
from tau0.serve.engine import AbandonedError
from tau0.serve.live_feed import MAX_PAGES, Feed
from tau0.serve.live_page import FEED_PATH, Tickets, answer, is_page, page
from tau0.serve.logs import event
from tau0.serve.metadata import check_planner
from tau0.serve.metrics import CONTENT_TYPE
from tau0.serve.protocol import PlannerChoice, Refusal, RefusedError
from tau0.serve.requests import parse_planner
from tau0.serve.service import Service
from tau0.serve.session import Session

ROBOT_PATH = "/"
GOING_AWAY = 1001
_STATUS: Mapping[Refusal, HTTPStatus] = {
    "identity": HTTPStatus.UNAUTHORIZED,
    "origin": HTTPStatus.FORBIDDEN,
    "malformed": HTTPStatus.BAD_REQUEST,
    "connections": HTTPStatus.SERVICE_UNAVAILABLE,
    "draining": HTTPStatus.SERVICE_UNAVAILABLE,
}


class Server:
    """A service at an address. Lives in the event loop that starts it."""

    def __init__(self, service: Service, access: Access) -> None:
        self._service, self._access = service, access
        self._server: WebsocketServer | None = None
        self._planners: dict[ServerConnection, PlannerChoice | None] = {}
        self._tickets, self._pages = Tickets(), set[ServerConnection]()
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="tau0-live")

    async def start(self) -> int:
        """Listens; returns the port.

        Raises:
            AccessError: The certificate cannot be used.
            OSError: The address cannot be listened at.
        """
        limits = self._service.limits
        self._server = await serve(
            self._connected,
            self._access.host,
            self._access.port,
            ssl=self._access.tls(),
            process_request=self._asked,
            create_connection=door(2 * limits.max_connections + 16),
            compression=None,
            server_header="tau0",
            open_timeout=limits.handshake_s,
            ping_interval=limits.ping_s,
            ping_timeout=limits.ping_s,
            close_timeout=2.0,
            max_size=limits.max_message_bytes,
            max_queue=2,
        )
        port = next(iter(self._server.sockets)).getsockname()[1]
        event(
            "listening", host=self._access.host, port=port, tls=self._access.certificate is not None, token=self._access.token is not None
        )
        return port

    async def drain(self) -> None:
        """Lets no robot in, answers what was asked, closes every connection, and writes what the recorder holds."""
        service, ends = self._service, time.monotonic() + self._service.limits.drain_s
        service.is_draining = True
        event("draining", answering=service.answering)
        while service.answering and time.monotonic() < ends:
            await asyncio.sleep(0.01)
        if self._server is not None:
            self._server.close(code=GOING_AWAY, reason="the server is ending")
            await self._server.wait_closed()
        service.engine.close()
        self._drawing.shutdown(wait=True, cancel_futures=True)
        if service.recorder is not None:
            await asyncio.to_thread(service.recorder.close)
        event("ended")

    async def _asked(self, connection: ServerConnection, request: Request) -> Response | None:
        """An answer by HTTP, or None where a robot may come in."""
        path = urlsplit(request.path).path
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if path == "/readyz":
            is_ready = not self._service.is_draining
            return connection.respond(
                HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, "ready\n" if is_ready else "draining\n"
            )
        is_persons = is_page(path, request.headers)
        try:
            self._check_identity(request, is_persons)
            if is_persons:
                return page(connection, path, self._tickets)
            if path == FEED_PATH:
                return self._admit_page(connection)
            if path == "/metrics":
                return answer(connection, self._service.metrics.exposition().decode(), CONTENT_TYPE)
            if path != ROBOT_PATH:
                return connection.respond(HTTPStatus.NOT_FOUND, f"there is nothing here; robots, and people, connect to {ROBOT_PATH}\n")
            self._planners[connection] = self._admitted(request)
        except RefusedError as refusal:
            self._service.metrics.refused(refusal.code)
            event("refused", code=refusal.code, reason=str(refusal), peer=_peer(connection))
            response = connection.respond(_STATUS[refusal.code], f"{refusal}\n")
            if is_persons and refusal.code == "identity":
                response.headers["WWW-Authenticate"] = 'Basic realm="tau0: any name, the token as password"'
            return response
        return None

    def _check_identity(self, request: Request, is_persons: bool) -> None:
        if self._access.is_foreign(request.headers):
            raise RefusedError("origin", "a page of another site, or another name of this machine, may not ask")
        if urlsplit(request.path).path == FEED_PATH:
            ticket = urlsplit(request.path).query.removeprefix("ticket=")
            if not self._tickets.knows(ticket):
                raise RefusedError("identity", "the feed is for the live page, which has a ticket")
        elif not (self._access.knows_person if is_persons else self._access.knows)(request.headers):
            raise RefusedError("identity", "a token is needed: Authorization: Bearer TOKEN (openpi's client: api_key)")

    def _admit_page(self, connection: ServerConnection) -> None:
        """Lets a page look."""
        if self._service.is_draining:
            raise RefusedError("draining", "the server is ending")
        self._pages = {other for other in self._pages if other.state is not State.CLOSED}
        if len(self._pages) >= MAX_PAGES:
            raise RefusedError("connections", f"{MAX_PAGES} live pages are open, which is the limit of this server")
        self._pages.add(connection)

    def _admitted(self, request: Request) -> PlannerChoice | None:
        """The planner that the address asks for, as in `ws://host/?mode=rcs&candidates=4`; None where it leaves that to the server."""
        limits = self._service.limits
        if self._service.is_draining:
            raise RefusedError("draining", "the server is ending")
        self._planners = {robot: choice for robot, choice in self._planners.items() if robot.state is not State.CLOSED}
        if len(self._planners) >= limits.max_connections:
            raise RefusedError("connections", f"{limits.max_connections} robots are connected, which is the limit of this server")
        query: dict[str, Any] = dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True, max_num_fields=8))
        if not query:
            return None
        try:
            for name, kind in (("candidates", int), ("budget_ms", float), ("guidance", float)):
                if name in query:
                    query[name] = _read(name, query[name], kind)
            choice = parse_planner({"mode": self._service.metadata.planner.mode, **query})
            check_planner(choice, self._service.metadata)
        except ValueError as error:
            raise RefusedError("malformed", str(error)) from error
        return choice

    async def _connected(self, connection: ServerConnection) -> None:
        """One robot, from its first word to its last; or one page."""
        if connection in self._pages:
            await Feed(self._service, connection, self._drawing).run()
            self._pages.discard(connection)
            return
        service = self._service
        session = Session(service, connection.send, self._planners.get(connection))
        gone = asyncio.ensure_future(connection.wait_closed())
        service.metrics.connections.inc()
        event("connected", session=session.id, peer=_peer(connection))
        was_asking = False
        try:
            await connection.send(wire.encode(service.metadata.to_wire()))
            while True:
                data = await asyncio.wait_for(connection.recv(), service.limits.idle_s)
                was_asking = True
                service.answering += 1
                try:
                    answer = await session.answer(data, gone)
                    if answer is not None:
                        await connection.send(answer)
                finally:
                    service.answering -= 1
                was_asking = False
        except TimeoutError:
            await connection.close(GOING_AWAY, f"nothing was said for {service.limits.idle_s:g} s")
        except (ConnectionClosed, AbandonedError):
            pass
        finally:
            session.close(was_asking)
            self._planners.pop(connection, None)
            gone.cancel()
            service.metrics.connections.dec()
            event("disconnected", session=session.id, queries=session.queries)


def _read(name: str, said: str, kind: type[int] | type[float]) -> float:
    """The number that a part of an address says. Raises `ValueError` where it says none."""
    try:
        return kind(said)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} is {said[:32]!r} in the address, it must be {wanted}") from None


def _peer(connection: ServerConnection) -> str:
    address = connection.remote_address
    return "" if address is None else f"{address[0]}:{address[1]}"
