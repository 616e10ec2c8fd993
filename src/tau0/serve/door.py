"""How many may stand at the door: connections that have not said what they want are counted too."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection


def door(most: int) -> type[ServerConnection]:
    """The class of connections of one server, of which at most `most` are open. Others are cut before anything is read from them."""

    class Door(ServerConnection):
        """A connection that knows how many there are."""

        standing = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            """Begins, or is cut."""
            Door.standing += 1
            super().connection_made(transport)
            if Door.standing > most:
                self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            """Leaves."""
            Door.standing -= 1
            super().connection_lost(exc)

    return Door
