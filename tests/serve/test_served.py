"""A client and a server, over a real socket, with the tiny checkpoint."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from serving import SINGLE, Running, serving

from tau0.checkpoint import Checkpoint
from tau0.contract import Camera, Commitment, Decision, Observation
from tau0.plan.agent import AS_CALIBRATED, PlanningAgent, Search
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.protocol import ConnectionLostError, PlannerChoice, RefusedError
from tau0.serve.requests import plain_observation
from tiny import EMBODIMENT

RCS = PlannerChoice(mode="rcs", candidates=3)


@pytest.fixture(scope="module")
def server(checkpoint: Checkpoint) -> Iterator[Running]:
    with serving(Agents(checkpoint, SINGLE)) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


def seen(step: int = 0, seed: int = 0, words: str = "reach") -> Observation:
    return replace(Observation.fake(EMBODIMENT, 100 * seed + step), step=step, instruction=words)


def same(one: Decision, other: Decision) -> None:
    assert np.array_equal(one.chunk.actions, other.chunk.actions)
    assert np.array_equal(one.proposals.actions, other.proposals.actions)
    assert (one.step, one.mode, one.choice, one.chosen, one.skipped) == (other.step, other.mode, other.choice, other.chosen, other.skipped)
    if other.proposals.scores is not None:
        assert one.proposals.scores is not None
        assert np.array_equal(one.proposals.scores, other.proposals.scores)


def test_a_robot_needs_no_torch_for_its_client() -> None:
    code = "import sys, tau0.serve.robot, tau0.serve.safety; assert not {'torch', 'pyarrow', 'pydantic'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_metadata_is_the_whole_contract(client: Client) -> None:
    told = client.metadata
    assert told.embodiment == EMBODIMENT
    assert told.safety.dim == EMBODIMENT.action.dim
    assert (told.checkpoint, told.planner, told.execute_steps) == ("tiny", SINGLE, 8)
    assert "full" in told.modes


def test_a_served_episode_is_the_same_as_a_local_one(client: Client, checkpoint: Checkpoint) -> None:
    local = PlanningAgent(checkpoint, "single", 1)
    for seed in (3, 4):
        local.reset(seed)
        client.reset(seed)
        for step in (0, 8, 13):
            decision = client.decide(seen(step))
            same(decision, local.decide(seen(step)))
            assert decision.milliseconds["total"] > 0


def test_robots_do_not_see_each_others_memory(server: Running, checkpoint: Checkpoint) -> None:
    """Three interleaved episodes with planners of their own decide as if each were alone."""
    choices = (SINGLE, RCS, PlannerChoice(mode="full", candidates=2))
    clients = [Client(server.address, planner=choice) for choice in choices]
    local = [PlanningAgent(checkpoint, choice.mode, choice.candidates) for choice in choices]  # pyright: ignore[reportArgumentType]
    for number, (client, agent) in enumerate(zip(clients, local, strict=True)):
        client.reset(number)
        agent.reset(number)
    for step in (0, 8, 16):
        for number, client in enumerate(clients):
            same(client.decide(seen(step, number)), local[number].decide(seen(step, number)))
    for client in clients:
        client.close()
    with Client(server.address, planner=RCS) as late:
        fresh = PlanningAgent(checkpoint, "rcs", 3)
        same(late.decide(seen(16, 1)), fresh.decide(seen(16, 1)))


def test_a_connection_chooses_how_strongly_a_chunk_continues_the_last(server: Running, checkpoint: Checkpoint) -> None:
    moving = replace(seen(), committed=Commitment(actions=np.full((6, 4), 0.3, np.float32), num_frozen=2))
    decisions: list[Decision] = []
    for guidance in (None, 0.5, 0.0):
        search = AS_CALIBRATED if guidance is None else Search(guidance=guidance)
        with Client(server.address, planner=replace(SINGLE, guidance=guidance)) as client:
            assert client.metadata.planner.guidance is None
            decisions.append(client.decide(moving))
            same(decisions[-1], PlanningAgent(checkpoint, "single", 1, search=search).decide(moving))
    assert not np.array_equal(decisions[0].chunk.actions, decisions[1].chunk.actions)
    with Client(server.address + "/?candidates=1&guidance=0.5") as client:
        same(client.decide(moving), decisions[1])


def test_a_planner_may_have_a_budget(server: Running) -> None:
    with Client(server.address, planner=PlannerChoice(mode="full", candidates=3, budget_ms=0.0)) as hurried:
        decision = hurried.decide(seen())
        assert decision.skipped[0] == "candidates: 1 of 3"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": {"front": seen().images["front"], "writs": seen().images["wrist"]}}, "no camera 'writs', did you mean 'wrist'"),
        ({"images": {"front": seen().images["front"]}}, "lacks camera 'wrist'"),
        ({"images": {**seen().images, "front": np.zeros((48, 32, 3), np.uint8)}}, r"camera 'front' gives uint8 \(48, 32, 3\), expected"),
        ({"images": {**seen().images, "front": np.zeros((32, 32, 3), np.float32)}}, "camera 'front' gives float32"),
        ({"images": {**seen().images, "front": "a file name"}}, "camera 'front' gives str"),
        ({"state": np.zeros(7, np.float32)}, r"state has shape \(7,\), expected \(4,\)"),
        ({"state": np.zeros(4, np.int32)}, "state is int32"),
        ({"state": np.array([0, 0, np.nan, 0], np.float32)}, "not finite"),
        ({"state": [0.0] * 4}, "must be an array"),
        ({"control_hz": 30.0}, "control_hz is 30, 'tiny' is controlled at 10 Hz"),
        ({"prompt": "word " * 900}, "4500 characters"),
        ({"prompt": 3}, "prompt must be text"),
        ({"step": -1}, "step is -1"),
        ({"step": 2.5}, "whole number"),
        ({"seed": 1}, "an observation has the unknown key 'seed'"),
    ],
)
def test_what_does_not_fit_is_told_on_the_open_connection(client: Client, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason) as refused:
        client._ask({"type": "observe", **plain_observation(seen()), **change})
    assert refused.value.code in ("contract", "malformed")
    assert "Traceback" not in str(refused.value)
    assert len(client.decide(seen()).chunk) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"cameras": (*EMBODIMENT.cameras[::-1],)},
        {"cameras": (replace(EMBODIMENT.cameras[0], width=64), EMBODIMENT.cameras[1])},
        {"cameras": (Camera(name="head", height=32, width=32), EMBODIMENT.cameras[1])},
        {"control_hz": 20.0},
        {"state_names": (*EMBODIMENT.state_names, "more")},
    ],
)
def test_another_robot_is_not_served(server: Running, change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=next(iter(change))):
        Client(server.address, embodiment=replace(EMBODIMENT, **change))
    Client(server.address, embodiment=EMBODIMENT).close()


def test_a_reset_is_a_message_and_words_in_the_prompt_are_words(client: Client, checkpoint: Checkpoint) -> None:
    local = PlanningAgent(checkpoint, "single", 1)
    local.reset(5)
    client.reset(5)
    for step in (0, 8):
        words = "reset" if step else "reach"
        same(client.decide(seen(step, words=words)), local.decide(seen(step, words=words)))
    with pytest.raises(RefusedError, match=r"step 3 comes after step 8: send a reset") as refused:
        client.decide(seen(3))
    assert refused.value.code == "contract"
    client.reset(5)
    client.decide(seen(3))


def test_a_planner_that_cannot_be_is_refused(server: Running, client: Client) -> None:
    guidance = [(value, "planner.guidance is .*, it must lie between 0 and 50") for value in (-0.1, 50.1, math.nan, math.inf)]
    for planner, reason in (
        ({"mode": "ful"}, "did you mean 'full'"),
        ({"mode": "rcs", "candidates": 65}, "between 1 and 64"),
        ({"mode": "rcs", "guidance": "strong"}, "planner.guidance must be a number, got str"),
        *(({"mode": "rcs", "guidance": value}, reason) for value, reason in guidance),
    ):
        with pytest.raises(RefusedError, match=reason):
            client._ask({"type": "configure", "planner": planner})
    for address, reason in (
        ("/?mode=rcss", "did you mean 'rcs'"),
        ("/?mode=", "planner.mode is ''"),
        ("/?candidates=two", "candidates is 'two' in the address, it must be a whole number"),
        ("/robot", "there is nothing here; robots, and people, connect to /"),
    ):
        with pytest.raises(RefusedError, match=reason):
            Client(server.address + address)
    with Client(server.address + "/?mode=rcs&candidates=2") as other:
        assert len(other.decide(seen()).proposals.actions) == 2


def test_the_emergency_stop_reaches_every_robot(server: Running, client: Client) -> None:
    with Client(server.address) as other:
        assert other.stopped() is None
        client.stop("a hand in the way")
        with pytest.raises(RefusedError, match="a hand in the way") as refused:
            other.decide(seen())
        assert refused.value.code == "stopped"
        assert other.stopped() == "a hand in the way"
        other.resume()
        assert len(other.decide(seen()).chunk) == 8
        assert other.stopped() is client.stopped() is None


def test_futures_of_given_actions(client: Client) -> None:
    actions = np.zeros((2, EMBODIMENT.action_horizon, 4), np.float32)
    outlook = client.imagine(seen(), actions)
    assert outlook.progress.shape == (2, EMBODIMENT.action_horizon)
    np.testing.assert_allclose(outlook.progress[0], outlook.progress[1], atol=1e-5)
    assert outlook.frames is not None
    assert outlook.frames.shape == (2, 2, 2, 32, 32, 3)
    assert client.imagine(seen(), actions, wants_frames=False).frames is None
    with pytest.raises(RefusedError, match="actions to imagine"):
        client.imagine(seen(), actions[:, :3])


def test_nobody_there_is_one_sentence() -> None:
    with pytest.raises(ConnectionLostError, match=r"no server at ws://127\.0\.0\.1:9"):
        Client("ws://127.0.0.1:9")
    with pytest.raises(ConnectionLostError, match=r"'127\.0\.0\.1:9' is no address of a server, such as ws://"):
        Client("127.0.0.1:9")


def test_a_server_without_tls_is_said_to_have_none(server: Running) -> None:
    with pytest.raises(ConnectionLostError, match="no server with TLS"):
        Client(server.address.replace("ws://", "wss://"))


def test_the_log_says_where_the_gate_is_of_another_number_of_candidates(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoint.config.gate is not None
    gate = replace(checkpoint.config.gate, num_candidates=3)
    agents = Agents(replace(checkpoint, config=replace(checkpoint.config, gate=gate)), PlannerChoice(mode="full", candidates=3))
    agents.take(PlannerChoice(mode="rcs", candidates=2))
    assert not caplog.records
    agents.take(PlannerChoice(mode="full", candidates=2))
    assert [record.getMessage()[:65] for record in caplog.records] == ["the gate was calibrated with 3 candidates; with 2 the best score "]
