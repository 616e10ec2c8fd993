"""Clients as they should not be, many at once, and a server that ends. Loopback only, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from quick import QuickAgents
from serving import SINGLE, Running, serving
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tau0.checkpoint import Checkpoint
from tau0.contract import Observation
from tau0.serve import wire
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.limits import ServeLimits
from tau0.serve.protocol import ConnectionLostError, RefusedError
from tau0.serve.requests import parse, plain_observation
from tiny import EMBODIMENT

OBSERVATION = Observation.fake(EMBODIMENT)
PLAIN = wire.encode(plain_observation(OBSERVATION))
PATIENT = replace(ServeLimits(), messages_per_s=1e6)
ROBOTS = 64


async def crowd(address: str, robots: int, queries: int) -> tuple[list[int], list[tuple[float, str | bytes]]]:
    """(robots in the order in which they were answered, all answers with their seconds) of robots that ask at the same time."""
    order: list[int] = []
    answers: list[tuple[float, str | bytes]] = []
    ready = asyncio.Barrier(robots)

    async def robot(number: int) -> None:
        async with connect_async(address, compression=None, proxy=None, open_timeout=30) as connection:
            await connection.recv()
            await ready.wait()
            for _ in range(queries):
                asked = time.perf_counter()
                await connection.send(PLAIN)
                answer = await connection.recv()
                order.append(number)
                answers.append((time.perf_counter() - asked, answer))

    await asyncio.gather(*(robot(number) for number in range(robots)))
    return order, answers


def test_sixty_four_robots_at_once_get_equal_turns(checkpoint: Checkpoint) -> None:
    with serving(Agents(checkpoint, SINGLE), PATIENT) as server:
        order, answers = asyncio.run(crowd(server.address, ROBOTS, 3))
        assert all(isinstance(answer, bytes) for _, answer in answers)
        counts = np.zeros(ROBOTS, int)
        for robot in order:
            counts[robot] += 1
            assert counts.max() - counts.min() <= 2
        assert counts.tolist() == [3] * ROBOTS
        assert server.service.engine.waiting == 0


def test_what_the_queue_cannot_hold_is_refused_politely_and_at_once() -> None:
    with serving(QuickAgents(seconds=0.05), replace(PATIENT, max_waiting=4)) as server:
        _, answers = asyncio.run(crowd(server.address, ROBOTS, 1))
        served = [answer for _, answer in answers if isinstance(answer, bytes)]
        refused = [(seconds, answer) for seconds, answer in answers if isinstance(answer, str)]
        assert len(served) >= 4
        assert len(served) + len(refused) == ROBOTS
        assert all("queries are waiting, which is the limit" in answer for _, answer in refused)
        assert len(refused) >= ROBOTS // 2
        assert max(seconds for seconds, _ in refused) < 1.0
        with Client(server.address) as client:
            assert len(client.decide(OBSERVATION).chunk) == 8


def test_a_query_whose_turn_does_not_come_is_told_so() -> None:
    agents = QuickAgents()
    agents.gate.clear()
    with serving(agents, replace(PATIENT, query_s=0.2)) as server, Client(server.address) as first, Client(server.address) as second:
        asking = threading.Thread(target=first.decide, args=(OBSERVATION,))
        asking.start()
        while not agents.began:
            time.sleep(0.01)
        with pytest.raises(RefusedError, match=r"busy with others for 0\.2 s") as refused:
            second.decide(OBSERVATION)
        assert refused.value.code == "timeout"
        agents.gate.set()
        asking.join()
        assert len(second.decide(OBSERVATION).chunk) == 8


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


SEEDS: tuple[dict[str, Any], ...] = (
    plain_observation(OBSERVATION),
    {"type": "observe", "details": True, **plain_observation(OBSERVATION)},
    {"type": "reset", "seed": 3, "outcome": "failure"},
    {"type": "configure", "planner": {"mode": "rcs", "candidates": 4, "budget_ms": 10.0}, "events": False},
    {"type": "report", "trips": {"speed": 1}},
    {"type": "imagine", "observation": plain_observation(OBSERVATION), "actions": np.zeros((1, 9, 4), np.float32)},
    {"type": "stop", "reason": "fuzz"},
    {"type": "resume"},
)
JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    1e308,
    float("nan"),
    "",
    "x" * 5000,
    b"\0" * 64,
    [],
    {},
    [[]] * 40,
    np.zeros(0),
    np.zeros((3, 0, 2)),
)


def mangled(rng: np.random.Generator) -> bytes:
    """A message that was once a good one: with other fields, or other bytes."""
    message = dict(SEEDS[rng.integers(len(SEEDS))])
    for _ in range(rng.integers(3)):
        key = str(rng.choice([*message, "type", "state", "images", "step", "committed", "control_hz", "observation"]))
        if rng.random() < 0.3:
            message.pop(key, None)
        elif rng.random() < 0.2:
            message[key] = {**(message[key] if isinstance(message.get(key), dict) else {}), str(key): JUNK[rng.integers(len(JUNK))]}
        else:
            message[key] = JUNK[rng.integers(len(JUNK))]
    data = bytearray(wire.encode(message))
    for _ in range(rng.integers(4)):
        at = int(rng.integers(min(len(data), 400)))
        action = rng.integers(4)
        if action == 0:
            data[at] = rng.integers(256)
        elif action == 1:
            del data[at:]
        elif action == 2:
            data[at:at] = rng.bytes(int(rng.integers(1, 12)))
        else:
            del data[at : at + int(rng.integers(1, 12))]
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.fixture(scope="module")
def quick_server() -> Any:
    with serving(QuickAgents(), PATIENT) as server:
        yield server


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**63 - 1))
def test_ten_thousand_mangled_messages_are_read_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        with contextlib.suppress(wire.WireError, RefusedError):
            parse(wire.decode(mangled(rng)), EMBODIMENT)


def over_the_socket(server: Running, seed: int) -> None:
    """Fifty messages: each is answered or refused, none ends the connection, none is a mistake of ours."""
    rng = np.random.default_rng(seed)
    with connect(server.address, compression=None, proxy=None, max_queue=None) as connection:
        connection.recv(timeout=10)
        for _ in range(50):
            connection.send(mangled(rng))
        for last in ({"type": "resume"}, {"type": "configure", "events": False}, {"type": "reset", "seed": 424242}):
            connection.send(wire.encode(last))
        connection.send(PLAIN)
        answer: Any = {}
        while not (isinstance(answer, dict) and "actions" in answer and np.isclose(answer["actions"][0, 0], 0.01 * (1 + 424242 % 7))):
            said = connection.recv(timeout=20)
            answer = said if isinstance(said, str) else wire.decode(said)
            assert "Traceback" not in str(answer)
            assert "the server made a mistake" not in str(answer)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**63 - 1))
def test_a_thousand_mangled_messages_over_the_socket(quick_server: Running, seed: int) -> None:
    over_the_socket(quick_server, seed)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**63 - 1))
def test_ten_thousand_mangled_messages_over_the_socket(quick_server: Running, seed: int) -> None:
    over_the_socket(quick_server, seed)


def waits_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_who_leaves_in_mid_inference_costs_no_more_than_that() -> None:
    """The first leaves while its query is in the model; the others while theirs wait, and those never begin."""
    agents = QuickAgents()
    agents.gate.clear()
    with serving(agents, PATIENT) as server:
        engine = server.service.engine
        for number in range(3):
            with connect(server.address, compression=None, proxy=None) as leaving:
                leaving.recv()
                leaving.send(wire.encode({**plain_observation(OBSERVATION), "step": number}))
                waits_for(lambda number=number: bool(agents.began) and engine.waiting == 1 + min(number, 1))
                leaving.socket.shutdown(socket.SHUT_RDWR)
            waits_for(lambda: engine.waiting == 1)
        with Client(server.address) as other:
            agents.gate.set()
            assert len(other.decide(replace(OBSERVATION, step=77)).chunk) == 8
        assert agents.began == [0, 77]
        waits_for(lambda: engine.waiting == 0)


def test_a_server_that_ends_answers_what_was_asked() -> None:
    agents = QuickAgents(seconds=0.4)
    running = serving(agents, PATIENT)
    with running as server, Client(server.address) as client, Client(server.address) as idle:
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(len(client.decide(OBSERVATION).chunk)))
        asking.start()
        while not agents.began:
            time.sleep(0.01)
        ending = threading.Thread(target=server.drain)
        ending.start()
        while not server.service.is_draining:
            time.sleep(0.01)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5)
        with pytest.raises(ConnectionLostError, match="the server is ending"):
            Client(server.address)
        ending.join()
        asking.join()
        assert answers == [8]
        with pytest.raises(ConnectionLostError, match="the server is ending"):
            idle.decide(OBSERVATION)
        with pytest.raises(ConnectionLostError, match="no server"):
            idle.connect()


def test_a_client_does_not_wait_for_ever() -> None:
    agents = QuickAgents()
    agents.gate.clear()
    with serving(agents, PATIENT) as server:
        with Client(server.address, timeout_s=0.3) as client, pytest.raises(ConnectionLostError, match=r"did not answer within 0\.3 s"):
            client.decide(OBSERVATION)
        agents.gate.set()


def test_a_closed_connection_is_one_sentence() -> None:
    with serving(QuickAgents(), PATIENT) as server:
        client = Client(server.address)
        client.close()
        with pytest.raises(ConnectionLostError, match="not connected"):
            client.decide(OBSERVATION)
    assert issubclass(ConnectionLostError, ConnectionError)
    assert not issubclass(ConnectionClosed, ConnectionLostError)
