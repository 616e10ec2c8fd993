"""Many robots at once: equal turns, and a queue that refuses what it cannot hold."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from messages import OBSERVATION, PATIENT, PLAIN
from quick import QuickAgents
from serving import SINGLE, serving
from websockets.asyncio.client import connect as connect_async

from tau0.checkpoint import Checkpoint
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.protocol import RefusedError

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
