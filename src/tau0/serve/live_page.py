"""The live page over HTTP: three files of ours under a strict policy, and tickets for its feed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response

from tau0.serve.access import matches

PAGE_PATH, FEED_PATH, TICKET_PATH = "/", "/live/feed", "/live/ticket"
TICKET_S = 30
"""A ticket opens feeds for so many seconds."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES: Mapping[str, tuple[str, str]] = {
    PAGE_PATH: ("live.html", "text/html; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
}
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Tickets:
    """Words by which the page, whose script cannot send a token with a websocket, shows that it was let in."""

    def __init__(self) -> None:
        """Tickets of this server alone."""
        self._secret = secrets.token_bytes(32)

    def make(self) -> str:
        """A ticket that opens feeds from now on, for `TICKET_S`."""
        ends = f"{time.time() + TICKET_S:.0f}"
        return f"{ends}.{self._signature(ends)}"

    def knows(self, ticket: str) -> bool:
        """Whether this is a ticket of ours that has not ended. Takes as long for every wrong one."""
        ends, _, signature = ticket.partition(".")
        return matches(signature, self._signature(ends)) and time.time() < int(ends)

    def _signature(self, ends: str) -> str:
        return hmac.new(self._secret, ends.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def is_page(path: str, headers: Headers) -> bool:
    """Whether a browser asks for a part of the page, and nobody for a websocket."""
    return (path in _FILES or path == TICKET_PATH) and not headers.get_all("Upgrade")


def page(connection: ServerConnection, path: str, tickets: Tickets) -> Response:
    """A part of the page. `path` is one for which `is_page` holds."""
    if path == TICKET_PATH:
        return answer(connection, tickets.make(), "text/plain; charset=utf-8")
    name, content_type = _FILES[path]
    return answer(connection, files("tau0.serve").joinpath(name).read_text("utf-8"), content_type)


def answer(connection: ServerConnection, text: str, content_type: str) -> Response:
    """Text as a page of ours, of which a browser may make nothing else."""
    response = connection.respond(HTTPStatus.OK, text)
    del response.headers["Content-Type"]
    response.headers.update({"Content-Type": content_type, **_HEADERS})
    return response
