"""Who connects and is no client: silence, half a frame, nonsense, too many at the door."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest
from messages import OBSERVATION, PATIENT, PLAIN
from quick import QuickAgents
from serving import serving
from websockets.sync.client import connect

from tau0.serve import wire
from tau0.serve.client import Client


def ended(connection: socket.socket) -> bool:
    """Whether the other side hangs up within five seconds."""
    connection.settimeout(5)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HT",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9,
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nbody",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"x" * 100_000,
        UPGRADE + b"\x82",
        UPGRADE + b"\x82\xfe\x10\x00" + b"abcd" + b"half of what was announced",
        UPGRADE + b"\x82\xff" + b"\xff" * 8 + b"abcd",
        UPGRADE + b"\xff\xff\xff\xff",
        UPGRADE + b"\x02\x80abcd" * 9,
        UPGRADE,
    ],
    ids=lambda said: repr(said[-12:]),
)
def test_who_says_nothing_half_of_something_or_nonsense_is_let_go(said: bytes) -> None:
    limits = replace(PATIENT, handshake_s=0.3, ping_s=0.3)
    with (
        serving(QuickAgents(), limits) as server,
        Client(server.address) as other,
        socket.create_connection(("127.0.0.1", server.port)) as stranger,
    ):
        stranger.sendall(said)
        assert len(other.decide(OBSERVATION).chunk) == 8
        assert ended(stranger)
        assert len(other.decide(OBSERVATION).chunk) == 8


def test_too_many_at_the_door_are_cut() -> None:
    with serving(QuickAgents(), replace(PATIENT, max_connections=2, handshake_s=5.0)) as server:
        strangers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
        time.sleep(0.3)
        assert sum(ended_at_once(stranger) for stranger in strangers) >= 10
        for stranger in strangers:
            stranger.close()
        time.sleep(0.2)
        Client(server.address).close()


def ended_at_once(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_garbage_is_refused_on_the_open_connection() -> None:
    with serving(QuickAgents(), PATIENT) as server, connect(server.address, compression=None, proxy=None) as connection:
        connection.recv()
        for garbage in (b"", b"\xc1", b"\x91" * 3000, "text", b"\x91\xa1a", wire.encode({"type": "rm -rf"}), wire.encode({})):
            connection.send(garbage or b"")
            assert "Traceback" not in str(connection.recv(timeout=10))
        connection.send(PLAIN)
        answer = connection.recv(timeout=10)
        assert isinstance(answer, bytes)
        assert "actions" in wire.decode(answer)
