"""The genuine client of openpi, as its package comes, against our server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from serving import SINGLE, Running, serving

from tau0.checkpoint import Checkpoint
from tau0.contract import Observation
from tau0.plan.agent import PlanningAgent
from tau0.serve.access import Access
from tau0.serve.agents import Agents
from tiny import EMBODIMENT

policies = pytest.importorskip("openpi_client.websocket_client_policy", reason="openpi-client is not installed (make setup installs it)")
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
TOKEN = "correct horse battery staple"


def seen(step: int = 0) -> Observation:
    return replace(Observation.fake(EMBODIMENT, step), step=step)


def told(observation: Observation, **more: Any) -> dict[str, Any]:
    """As openpi's example for ALOHA writes it."""
    return {"images": dict(observation.images), "state": observation.state, "prompt": observation.instruction, **more}


@pytest.fixture(scope="module")
def server(checkpoint: Checkpoint) -> Iterator[Running]:
    with serving(Agents(checkpoint, SINGLE)) as running:
        yield running


@pytest.fixture
def policy(server: Running) -> Iterator[Any]:
    client = policies.WebsocketClientPolicy(host="127.0.0.1", port=server.port)
    yield client
    client._ws.close()


def test_metadata_then_actions(policy: Any, checkpoint: Checkpoint) -> None:
    metadata = policy.get_server_metadata()
    assert metadata["embodiment"]["cameras"] == [{"name": name, "height": 32, "width": 32} for name in ("front", "wrist")]
    assert metadata["embodiment"]["control_hz"] == 10.0
    local = PlanningAgent(checkpoint, "single", 1)
    local.reset(0)
    for step in (0, 8, 16):
        answer = policy.infer(told(seen(step)))
        assert np.array_equal(answer["actions"], local.decide(seen(step)).chunk.actions)
        assert answer["actions"].dtype == np.float32
        assert answer["server_timing"]["infer_ms"] > 0
        assert answer["step"] == step


def test_a_key_for_each_part_as_openpis_example_for_libero_writes_it(policy: Any) -> None:
    observation = seen()
    flat = {f"observation/{name}": pixels for name, pixels in observation.images.items()}
    answer = policy.infer({**flat, "observation/state": observation.state.astype(np.float64), "prompt": "go"})
    assert answer["actions"].shape == (8, 4)


def test_an_error_is_a_sentence_on_the_open_connection(policy: Any) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Error in inference server:.*camera 'front' gives float32") as said:
        policy.infer({**told(seen()), "images": {"front": np.zeros((32, 32, 3), np.float32), "wrist": seen().images["wrist"]}})
    assert "Traceback" not in str(said.value)
    assert policy.infer(told(seen()))["actions"].shape == (8, 4)


def test_a_reset_is_a_message_of_its_own(policy: Any, checkpoint: Checkpoint) -> None:
    policy.infer(told(seen(5), step=5))
    assert policy.infer({"type": "reset", "seed": 7}) == {"type": "done"}
    local = PlanningAgent(checkpoint, "single", 1)
    local.reset(7)
    assert np.array_equal(policy.infer(told(seen()))["actions"], local.decide(seen()).chunk.actions)


def test_the_planner_stands_in_the_address_and_the_token_is_the_api_key(checkpoint: Checkpoint) -> None:
    with serving(Agents(checkpoint, SINGLE), access=Access(port=0, token=TOKEN)) as server:
        client = policies.WebsocketClientPolicy(host=f"{server.address}/?mode=rcs&candidates=3", api_key=TOKEN)
        answer = client.infer(told(seen()))
        client._ws.close()
    assert answer["planner"]["choice"] == "rcs"


def test_openpis_broker_cuts_an_answer_into_control_steps(policy: Any) -> None:
    brokers = pytest.importorskip("openpi_client.action_chunk_broker", reason="dm-tree is not installed, which openpi's broker needs")
    broker = brokers.ActionChunkBroker(policy, action_horizon=8)
    actions = [broker.infer(told(seen()))["actions"] for _ in range(8)]
    policy.infer({"type": "reset"})
    assert np.array_equal(np.stack(actions), policy.infer(told(seen()))["actions"])
