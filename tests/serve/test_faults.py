"""Clients that leave, a server that ends, answers that never come. Loopback only, and bounded."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace

import pytest
from messages import OBSERVATION, PATIENT
from quick import QuickAgents
from serving import serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tau0.serve import wire
from tau0.serve.client import Client
from tau0.serve.protocol import ConnectionLostError
from tau0.serve.requests import plain_observation


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
