"""Who gets in: addresses, token, TLS, foreign sites, sizes, rates, time."""

from __future__ import annotations

import shutil
import ssl
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import SINGLE, Running, serving
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tau0.checkpoint import Checkpoint
from tau0.contract import Observation
from tau0.serve import wire
from tau0.serve.access import Access, AccessError, is_loopback, matches
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.limits import RateLimit, ServeLimits
from tau0.serve.protocol import RefusedError
from tau0.serve.requests import plain_observation
from tiny import EMBODIMENT

TOKEN = "correct horse battery staple"
OBSERVATION = Observation.fake(EMBODIMENT)


@contextmanager
def raw(server: Running, headers: dict[str, str] | None = None) -> Iterator[ClientConnection]:
    """A connection without a client of ours, after the metadata."""
    with connect(server.address, additional_headers=headers, compression=None, proxy=None) as connection:
        connection.recv(timeout=10)
        yield connection


@pytest.fixture(scope="module")
def agents(checkpoint: Checkpoint) -> Agents:
    return Agents(checkpoint, SINGLE)


def test_an_address_that_others_reach_needs_a_token_or_a_word() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.4", "robot.lab"):
        with pytest.raises(AccessError, match="could drive the robot"):
            Access(host=host)
        assert not Access(host=host, token=TOKEN).is_local
        assert Access(host=host, is_open=True).token is None
    assert Access().is_local
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "localhost.evil.com", "1.2.3.4")] == [
        *(True,) * 4,
        *(False,) * 2,
    ]


@pytest.mark.parametrize("token", ["short", "", "x" * 15, "ä" * 20, "new\nline" * 4])
def test_a_poor_token_is_not_taken(token: str) -> None:
    with pytest.raises(AccessError, match="at least 16"):
        Access(token=token)


def test_the_token_is_not_in_what_is_logged() -> None:
    assert TOKEN not in repr(Access(token=TOKEN))


@given(st.text(max_size=40))
def test_only_the_token_is_the_token(word: str) -> None:
    assert matches(word, TOKEN) == (word == TOKEN)
    if word.isprintable() and word.isascii():
        assert Access(token=TOKEN).knows(Headers({"Authorization": f"Bearer {word}"})) == (word.strip() == TOKEN)


def test_tokens_are_compared_in_a_time_that_tells_nothing() -> None:
    """That the library's own comparison is used is what counts; this would notice a plain one in CPython on long secrets."""
    secret = "s" * 200_000
    early, late = "x" + secret[1:], secret[:-1] + "x"
    times: dict[str, list[float]] = {early: [], late: []}
    for _ in range(60):
        for word, taken in times.items():
            before = time.perf_counter()
            matches(word, secret)
            taken.append(time.perf_counter() - before)
    ratio = statistics.median(times[late]) / statistics.median(times[early])
    assert 0.5 < ratio < 2


def test_a_server_with_a_token_lets_in_who_knows_it(agents: Agents) -> None:
    with serving(agents, access=Access(port=0, token=TOKEN)) as server:
        for headers in (
            {},
            {"Authorization": "Bearer wrong wrong wrong wrong"},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
        ):
            with pytest.raises(InvalidStatus, match="401"), raw(server, headers):
                pass
        with pytest.raises(RefusedError, match="token is needed") as refused:
            Client(server.address)
        assert refused.value.code == "identity"
        for scheme in ("Bearer", "Api-Key"):
            with raw(server, {"Authorization": f"{scheme} {TOKEN}"}):
                pass
        with Client(server.address, TOKEN) as client:
            assert len(client.decide(OBSERVATION).chunk) == 8
        base = f"http://127.0.0.1:{server.port}"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{base}/metrics", timeout=5)
        asked = urllib.request.Request(f"{base}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(asked, timeout=5) as page:
            assert 'tau0_refusals_total{code="identity"} 6.0' in page.read().decode()
        with urllib.request.urlopen(f"{base}/healthz", timeout=5) as page:
            assert page.read() == b"OK\n"


def test_pages_of_other_sites_and_rebound_names_stay_outside(agents: Agents) -> None:
    with serving(agents) as server:
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://127.0.0.1:{server.port + 1}"}):
            with pytest.raises(InvalidStatus, match="403"), raw(server, headers):
                pass
        with raw(server, {"Origin": f"http://127.0.0.1:{server.port}"}):
            pass
        rebound = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(rebound, timeout=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine, signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate of this test")
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def test_tls(agents: Agents, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    pem, key = certificate
    access = Access(port=0, certificate=pem, key=key)
    with serving(agents, access=access) as server:
        trusting = ssl.create_default_context(cafile=pem)
        with Client(server.address, tls=trusting) as client:
            assert client._address.startswith("wss://")
            assert len(client.decide(OBSERVATION).chunk) == 8
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ConnectionError):
            Client(server.address, tls=old)
        with pytest.raises(ConnectionError, match="a certificate that is believed"):
            Client(server.address)
        with pytest.raises(ConnectionError, match="no such server, or one with TLS"):
            Client(server.address.replace("wss", "ws"))
    with pytest.raises(AccessError, match="both"):
        Access(certificate=pem)
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(AccessError, match="no certificate and its key"):
        Access(certificate=tmp_path / "no.pem", key=key).tls()


def test_a_message_too_large_ends_its_own_connection_alone(agents: Agents) -> None:
    with serving(agents, replace(ServeLimits(), max_message_bytes=100_000)) as server, Client(server.address) as other:
        with raw(server) as big:
            big.send(wire.encode({"images": {"front": np.zeros(200_000, np.uint8)}}))
            with pytest.raises(ConnectionClosed, match="1009"):
                big.recv(timeout=10)
        assert len(other.decide(OBSERVATION).chunk) == 8


def test_a_flood_is_refused_before_it_is_read(agents: Agents) -> None:
    with serving(agents, replace(ServeLimits(), messages_per_s=5)) as server, raw(server) as flood:
        for _ in range(30):
            flood.send(b"garbage")
        said = [flood.recv(timeout=10) for _ in range(30)]
        assert sum("more than 5 messages" in str(answer) for answer in said) >= 15


def test_a_rate_is_kept_in_the_long_run() -> None:
    now = [0.0]
    limit = RateLimit(10, lambda: now[0])
    assert sum(limit.take() for _ in range(50)) == 20
    now[0] = 1.0
    assert sum(limit.take() for _ in range(50)) == 10
    now[0] = 100.0
    assert sum(limit.take() for _ in range(50)) == 20


def test_who_says_nothing_is_let_go(agents: Agents) -> None:
    ended = pytest.raises(ConnectionClosed, match=r"nothing was said for 0\.2 s")
    with serving(agents, replace(ServeLimits(), idle_s=0.2)) as server, raw(server) as silent, ended:
        silent.recv(timeout=10)


def test_one_robot_too_many_is_told_so(agents: Agents) -> None:
    with serving(agents, replace(ServeLimits(), max_connections=2)) as server:
        with raw(server), raw(server), pytest.raises(ConnectionError, match="2 robots are connected, which is the limit"):
            Client(server.address)
        time.sleep(0.2)
        Client(server.address).close()


def test_a_mistake_of_ours_is_told_without_its_traceback(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Agents):
        def take(self, choice: object) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
            agent = super().take(choice)  # pyright: ignore[reportArgumentType]
            if hasattr(self, "is_broken"):
                raise KeyError("/secret/path/of/the/server")
            return agent

    agents = Broken(checkpoint, SINGLE)
    agents.is_broken = True  # pyright: ignore[reportAttributeAccessIssue]
    with serving(agents) as server, raw(server) as connection:
        connection.send(wire.encode(plain_observation(OBSERVATION)))
        said = str(connection.recv(timeout=10))
        assert "its log has it under number" in said
        assert not any(word in said for word in ("secret", "KeyError", "Traceback", ".py"))
        number = said.rsplit(maxsplit=1)[-1]
    failed = next(record for record in caplog.records if record.getMessage() == "failed")
    assert failed.__dict__["tau0"]["number"] == number
    assert failed.exc_info is not None
