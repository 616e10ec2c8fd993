"""A server from its first moment to its last: listens until it is told to end, then drains."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from tau0.serve.access import Access
from tau0.serve.server import Server
from tau0.serve.service import Service


def run_server(service: Service, access: Access, listening: Callable[[str], None] = lambda address: None) -> None:  # noqa: ARG005
    """Serves until SIGTERM or Ctrl-C, and then ends gracefully; a second one ends it at once.

    Args:
        service: What is served.
        access: Where, and to whom.
        listening: Is told the address, such as "ws://127.0.0.1:8000", as soon as robots can connect.

    Raises:
        AccessError: The certificate cannot be used.
        OSError: The address cannot be listened at.
    """
    asyncio.run(_serve(service, access, listening))


async def _serve(service: Service, access: Access, listening: Callable[[str], None]) -> None:
    server, told, loop = Server(service, access), asyncio.Event(), asyncio.get_running_loop()
    port = await server.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    host = f"[{access.host}]" if ":" in access.host else access.host
    listening(f"{access.scheme}://{host}:{port}")
    await told.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    await server.drain()
