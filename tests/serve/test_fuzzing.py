"""Messages that were once good ones: each is read or refused, and none is a mistake of ours."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from messages import OBSERVATION, PATIENT, PLAIN
from quick import QuickAgents
from serving import Running, serving
from websockets.sync.client import connect

from tau0.serve import wire
from tau0.serve.protocol import RefusedError
from tau0.serve.requests import parse, plain_observation
from tiny import EMBODIMENT

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
