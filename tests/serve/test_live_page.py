"""The live page at its socket: who sees it, what it may say, and that it holds nobody up."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quick import QuickAgents
from serving import Running, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tau0.contract import Observation
from tau0.serve.access import Access
from tau0.serve.client import Client
from tau0.serve.live_page import POLICY, Tickets
from tau0.serve.live_view import MAX_SIDE, picture_address
from tau0.serve.protocol import RefusedError
from tiny import EMBODIMENT

TOKEN = "correct horse battery staple"
PARTS = ("/", "/live.css", "/live.js", "/live/ticket")
OBSERVATION = Observation.fake(EMBODIMENT)


def fetched(server: Running, path: str, headers: dict[str, str] | None = None) -> tuple[str, Any]:
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers or {})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read().decode(), answer.headers


def opened(server: Running) -> ClientConnection:
    return connect(f"{server.address}/live/feed?ticket={fetched(server, '/live/ticket')[0]}", proxy=None, compression=None)


def say(feed: ClientConnection, kind: str, **fields: Any) -> None:
    feed.send(json.dumps({"type": kind, **fields}))


def look(feed: ClientConnection) -> dict[str, Any]:
    say(feed, "look")
    return json.loads(feed.recv(timeout=10))


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()}


def test_without_the_token_there_is_no_page() -> None:
    with serving(QuickAgents(), access=Access(port=0, token=TOKEN)) as server:
        for path in PARTS:
            for headers in ({}, basic("wrong wrong wrong wrong"), {"Authorization": "Basic nonsense"}, {"Authorization": f"Basic {TOKEN}"}):
                with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                    fetched(server, path, headers)
                assert refused.value.headers["WWW-Authenticate"].startswith("Basic")
                refused.value.close()
            for headers in (basic(TOKEN), {"Authorization": f"Bearer {TOKEN}"}):
                assert fetched(server, path, headers)[0]
        for headers in ({}, basic(TOKEN)):
            with pytest.raises(InvalidStatus, match="401"), connect(f"{server.address}/", additional_headers=headers, proxy=None):
                pass
            for query in ("", "?ticket=", "?ticket=99999999999.x", "?ticket=ä", "?" + "&".join("abcdefghij")):
                address = f"{server.address}/live/feed{query}"
                with pytest.raises(InvalidStatus, match="401"), connect(address, additional_headers=headers, proxy=None):
                    pass


def test_a_ticket_is_ours_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = Tickets()
    ticket = tickets.make()
    assert tickets.knows(ticket)
    assert not Tickets().knows(ticket)
    assert not tickets.knows("9" + ticket)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31)
    assert not tickets.knows(ticket)


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline() -> None:
    with serving(QuickAgents()) as server:
        text, headers = fetched(server, "/")
        assert headers["Content-Security-Policy"] == POLICY
        assert "unsafe" not in POLICY
        assert "http" not in text
        assert "style=" not in text
        assert "<script>" not in text
        with pytest.raises(urllib.error.HTTPError, match="403"):
            fetched(server, "/", {"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            fetched(server, "/live/ticket", {"Origin": "http://evil.example"})


def test_a_page_chooses_a_robot_pauses_it_and_stops_all() -> None:
    with serving(QuickAgents()) as server, Client(server.address) as one, Client(server.address) as two, opened(server) as feed:
        one.decide(replace(OBSERVATION, instruction="first"))
        two.decide(replace(OBSERVATION, instruction="second"))
        two.report_trips({"speed": 3, "unheard": 1})
        view = look(feed)
        assert [robot["number"] for robot in view["robots"]] == [1, 2]
        assert view["robot"]["instruction"] == "first"
        assert [robot["instruction"] for robot in view["robots"]] == ["first", "second"]
        assert [camera["name"] for camera in view["cameras"]] == ["front", "wrist"]
        say(feed, "choose", robot=view["robots"][1]["id"])
        view = look(feed)
        assert (view["robot"]["instruction"], view["robot"]["trips"]) == ("second", {"speed": 3})
        say(feed, "pause", robot=view["robot"]["id"])
        assert look(feed)["robot"]["paused"]
        with pytest.raises(RefusedError, match="paused at the live page"):
            two.decide(OBSERVATION)
        assert two.stop_reason == "paused at the live page"
        assert one.decide(OBSERVATION).step == 0
        say(feed, "stop")
        assert look(feed)["stop"] == "somebody at the live page"
        say(feed, "resume")
        assert look(feed)["stop"] is None
        assert two.stopped() == "somebody at the live page", "a paused robot goes on holding when a stop of all ends"
        say(feed, "go", robot=view["robot"]["id"])
        assert not look(feed)["robot"]["paused"]
        assert two.decide(OBSERVATION).step == 0


NONSENSE = ("", "[]", "{}", '{"type": "reset"}', '{"type": "look", "x": 1}', '{"type": 3}', "[" * 900, "x" * 2000, b"\x80")


@pytest.mark.parametrize("message", NONSENSE)
def test_what_no_page_says_ends_it_alone(message: str | bytes) -> None:
    with serving(QuickAgents()) as server, Client(server.address) as robot, opened(server) as feed:
        feed.send(message)
        with pytest.raises(ConnectionClosed):
            feed.recv(timeout=10)
        assert robot.decide(OBSERVATION).step == 0


def test_a_page_that_never_reads_holds_nobody_up() -> None:
    with serving(QuickAgents()) as server, Client(server.address) as robot, opened(server) as slow, opened(server) as other:
        for _ in range(20):
            say(slow, "look")
        waits: list[float] = []
        for step in range(100):
            before = time.monotonic()
            robot.decide(replace(OBSERVATION, step=step))
            waits.append(time.monotonic() - before)
        assert np.median(waits) < 0.1
        assert look(other)["robot"]["step"] == 99
        assert "robot" in json.loads(slow.recv(timeout=10))


def test_there_are_only_so_many_pages() -> None:
    with serving(QuickAgents()) as server:
        with ExitStack() as feeds:
            for _ in range(8):
                feeds.enter_context(opened(server))
            with pytest.raises(InvalidStatus, match="503"), opened(server):
                pass
        with opened(server) as late:
            assert look(late)["robots"] == []


def test_pictures_are_small_and_right() -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    read = np.asarray(image.open(io.BytesIO(base64.b64decode(picture_address(pixels).partition(",")[2]))))
    np.testing.assert_array_equal(read, pixels[::4, ::4])
    assert max(read.shape) <= MAX_SIDE
