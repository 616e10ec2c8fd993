"""A robot's side of the connection: observation in, decision out, over the network. Needs no torch.

with Client("ws://127.0.0.1:8000") as client:
    client.reset(seed=0)
    decision = client.decide(observation)
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from tau0.contract import Decision, Embodiment, Float, Observation
from tau0.serve import wire
from tau0.serve.answers import Outlook, read_decision, read_outlook, read_refusal
from tau0.serve.contracts import plain
from tau0.serve.metadata import Metadata
from tau0.serve.protocol import ConnectionLostError, Outcome, PlannerChoice, RefusedError
from tau0.serve.requests import plain_observation


class Client:
    """One robot's connection. Not for several threads at once; a robot that asks while it moves has a thread for its client alone."""

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        planner: PlannerChoice | None = None,
        embodiment: Embodiment | None = None,
        timeout_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connects, and agrees with the server.

        Args:
            address: Such as `ws://127.0.0.1:8000`, or `wss://` with TLS.
            token: What the server wants to be told.
            planner: How chunks are chosen; None for the server's way.
            embodiment: This robot. The server refuses one that is not its checkpoint's.
            timeout_s: Longest wait for any answer.
            tls: Which certificates are believed; None for the system's.

        Raises:
            ConnectionLostError: Nobody listens there.
            RefusedError: The server does not let this client in, or does not serve such a robot.
            ContractError: The server is no server of tau0, or of another version.
        """
        self._address, self._token, self._tls, self._timeout_s = address, token, tls, timeout_s
        self._planner, self._embodiment = planner, embodiment
        self._open, self._seed = ExitStack(), 0
        self._socket: ClientConnection | None = None
        self.connect()

    def connect(self) -> Metadata:
        """Connects, again where it was connected before; the server then knows nothing of the episode but its seed.

        Raises:
            ConnectionLostError, RefusedError, ContractError: As at the beginning.
        """
        self.close()
        self._socket = self._opened()
        self.metadata = Metadata.from_wire(wire.decode(self._received()))
        self.stop_reason: str | None = None
        settings: dict[str, Any] = {"type": "configure", "events": True}
        if self._planner is not None:
            settings["planner"] = plain(self._planner)
        if self._embodiment is not None:
            settings["embodiment"] = plain(self._embodiment)
        self._ask(settings)
        self._ask({"type": "reset", "seed": self._seed})
        return self.metadata

    def _opened(self) -> ClientConnection:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else None
        try:
            opening = connect(
                self._address,
                ssl=self._tls,
                additional_headers=headers,
                compression=None,
                max_size=None,
                open_timeout=self._timeout_s,
                close_timeout=1.0,
                proxy=None,
            )
            return self._open.enter_context(opening)
        except InvalidStatus as error:
            codes: Mapping[int, Any] = {401: "identity", 403: "origin", 400: "malformed", 404: "malformed"}
            body = error.response.body or b""
            said = body.decode("utf-8", "replace").strip() or f"HTTP {error.response.status_code}"
            if error.response.status_code not in codes:
                raise ConnectionLostError(f"{self._address} answers HTTP {error.response.status_code}: {said}") from error
            raise RefusedError(codes[error.response.status_code], f"{self._address}: {said}") from error
        except InvalidURI as error:
            raise ConnectionLostError(f"{self._address!r} is no address of a server, such as ws://127.0.0.1:8000") from error
        except ssl.SSLError as error:
            raise ConnectionLostError(f"no server with TLS (and a certificate that is believed) at {self._address}: {error}") from error
        except InvalidMessage as error:
            raise ConnectionLostError(f"what answers at {self._address} is no such server, or one with TLS (wss://): {error}") from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise ConnectionLostError(f"no server at {self._address}: {error}") from error

    @property
    def embodiment(self) -> Embodiment:
        """The robot that the server's checkpoint acts for."""
        return self.metadata.embodiment

    def reset(self, seed: int = 0, outcome: Outcome | None = None) -> None:
        """Begins an episode; `outcome` is how the last one ended, for the server's recorder. Raises as `decide`."""
        self._seed = seed
        message: dict[str, Any] = {"type": "reset", "seed": seed}
        self._ask(message if outcome is None else {**message, "outcome": outcome})

    def decide(self, observation: Observation) -> Decision:
        """What to do now, and why.

        Raises:
            RefusedError: The server does not answer this; its code and text say why. The connection is as it was.
            ConnectionLostError: The server is gone or late.
        """
        return read_decision(self._ask({"type": "observe", "details": True, **plain_observation(observation)}))

    def imagine(self, observation: Observation, actions: Float, wants_frames: bool = True) -> Outlook:
        """What would come of chunks `actions`, robot units, shape (n, ha, da). Raises as `decide`."""
        question = {"observation": plain_observation(observation), "actions": actions, "frames": wants_frames}
        return read_outlook(self._ask({"type": "imagine", **question}))

    def report(self, observation: Observation, action: Float, trips: Mapping[str, int] | None = None) -> None:
        """Tells what was seen and done in one control step, for the recorder, and which safety limits intervened. Waits for nothing."""
        seen: dict[str, Any] = {"observation": plain_observation(observation), "action": action} if self.metadata.records else {}
        if seen or trips:
            self._send({"type": "report", "trips": dict(trips or {}), **seen})

    def report_trips(self, trips: Mapping[str, int]) -> None:
        """Tells which safety limits intervened since the last time. Waits for nothing."""
        self._send({"type": "report", "trips": dict(trips)})

    def stop(self, reason: str = "") -> None:
        """The emergency stop, for every robot of this server. Raises as `decide`."""
        self._ask({"type": "stop", "reason": reason})

    def resume(self) -> None:
        """Ends the stop. Raises as `decide`."""
        self._ask({"type": "resume"})

    def stopped(self) -> str | None:
        """Why robots are stopped, as far as the server has said until now, without waiting; None while they may move.

        Raises:
            ConnectionLostError: The server is gone.
        """
        while (message := self._waiting()) is not None:
            self._heard(message)
        return self.stop_reason

    def close(self) -> None:
        """Hangs up. Never fails."""
        self._open.close()
        self._socket = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a message. News that come before it are kept."""
        self._send(message)
        until = time.monotonic() + self._timeout_s
        while True:
            data = self._received(until)
            answer = data if isinstance(data, str) else wire.decode(data)
            if isinstance(answer, dict) and answer.get("type") == "event":
                self._heard(answer)
                continue
            refusal = read_refusal(answer)
            if refusal is not None:
                raise refusal
            assert isinstance(answer, dict)
            return answer

    def _heard(self, news: Mapping[str, Any]) -> None:
        if news.get("event") == "stopped":
            self.stop_reason = str(news.get("reason", ""))
        elif news.get("event") == "resumed":
            self.stop_reason = None

    def _waiting(self) -> dict[str, Any] | None:
        try:
            data = self._connected().recv(timeout=0)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise self._lost(error) from error
        return wire.decode(data) if isinstance(data, bytes) else None

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._connected().send(wire.encode(message))
        except ConnectionClosed as error:
            raise self._lost(error) from error

    def _received(self, until: float | None = None) -> Any:
        timeout = self._timeout_s if until is None else max(0.0, until - time.monotonic())
        try:
            return self._connected().recv(timeout=timeout)
        except TimeoutError as error:
            self.close()
            raise ConnectionLostError(f"{self._address} did not answer within {self._timeout_s:g} s") from error
        except ConnectionClosed as error:
            raise self._lost(error) from error

    def _connected(self) -> ClientConnection:
        if self._socket is None:
            raise ConnectionLostError(f"not connected to {self._address}")
        return self._socket

    def _lost(self, error: ConnectionClosed) -> ConnectionLostError:
        self.close()
        why = "" if error.rcvd is None or not error.rcvd.reason else f": {error.rcvd.reason}"
        return ConnectionLostError(f"the connection to {self._address} was lost{why}")
