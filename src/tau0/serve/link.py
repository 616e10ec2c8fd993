"""A client in a thread of its own, so that a robot's loop never waits for the network. No torch."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tau0.contract import ContractError, Decision, Float, Observation
from tau0.serve.client import Client
from tau0.serve.protocol import ConnectionLostError, Outcome, RefusedError

POLL_S, FIRST_RETRY_S, MAX_RETRY_S, MAX_REPORTS = 0.01, 0.05, 1.0, 512


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """Why there is no decision: the connection was lost, or the server refused."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class _Job:
    work: Callable[[], None]
    outlives_a_connection: bool = False


class Link:
    """Asks, reports and connects again, all behind the robot's back."""

    def __init__(self, client: Client) -> None:
        """Takes the client over: nobody else may call it until `close`."""
        self._client = client
        self._jobs: queue.Queue[_Job] = queue.Queue()
        self._answers: queue.Queue[tuple[int, Decision | NoAnswer]] = queue.Queue()
        self._asked = 0
        self._ends = threading.Event()
        self.is_up, self.reconnections = True, 0
        self.lost_at = 0.0
        self._thread = threading.Thread(target=self._run, name="tau0-link", daemon=True)
        self._thread.start()

    @property
    def stop(self) -> str | None:
        """Why robots are stopped; None while they may move. Known as soon as it comes, also while an answer is waited for."""
        return self._client.stop_reason

    def ask(self, observation: Observation) -> None:
        """Begins a query. Its outcome comes from `answer`; an earlier one's will not any more."""
        self._asked += 1
        number = self._asked

        def work() -> None:
            try:
                self._answers.put((number, self._client.decide(observation)))
            except (RefusedError, ContractError, ValueError) as error:
                self._answers.put((number, NoAnswer(reason=str(error))))
            except ConnectionLostError as error:
                self._answers.put((number, NoAnswer(reason=str(error))))
                raise

        self._jobs.put(_Job(work=work))

    def answer(self, wait_s: float = 0.0) -> Decision | NoAnswer | None:
        """The outcome of the last query, once; None while there is none."""
        until = time.monotonic() + wait_s
        while True:
            try:
                number, outcome = self._answers.get(timeout=max(0.0, until - time.monotonic())) if wait_s else self._answers.get_nowait()
            except queue.Empty:
                return None
            if number == self._asked:
                return outcome

    def report(self, observation: Observation, action: Float, trips: Mapping[str, int]) -> None:
        """Tells the recorder of one control step. Is dropped while there is no connection, or when the network is far behind."""
        if self.is_up and self._jobs.qsize() < MAX_REPORTS:
            self._jobs.put(_Job(work=lambda: self._client.report(observation, action, trips)))

    def count(self, trips: Mapping[str, int]) -> None:
        """Tells which safety limits intervened."""
        if self.is_up and trips:
            self._jobs.put(_Job(work=lambda: self._client.report_trips(trips)))

    def reset(self, seed: int, outcome: Outcome | None = None, wait_s: float = 30.0) -> None:
        """Begins an episode, after everything that was said before. Raises `ConnectionLostError` when that takes too long."""
        done = threading.Event()

        def work() -> None:
            self._client.reset(seed, outcome)
            done.set()

        self._jobs.put(_Job(work=work, outlives_a_connection=True))
        if not done.wait(wait_s):
            raise ConnectionLostError(f"the server did not begin an episode within {wait_s:g} s")

    def close(self) -> None:
        """Hangs up, after everything that was said before."""
        self._ends.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not (self._ends.is_set() and (self._jobs.empty() or not self.is_up)):
            try:
                if not self.is_up:
                    self._reconnect()
                else:
                    self._work()
            except ConnectionLostError:
                self.is_up, self.lost_at = False, time.monotonic()
            except RefusedError as refusal:
                self._answers.put((self._asked, NoAnswer(reason=str(refusal))))

    def _work(self) -> None:
        """One job where there is one, and a look at what the server has said of its own accord."""
        with contextlib.suppress(queue.Empty):
            self._jobs.get(timeout=POLL_S).work()
        self._client.stopped()

    def _reconnect(self) -> None:
        """Tries until there is a server again, less and less often."""
        pause = FIRST_RETRY_S
        while not self._ends.wait(pause):
            try:
                self._client.connect()
            except (ConnectionLostError, ContractError, RefusedError):
                pause = min(2 * pause, MAX_RETRY_S)
                continue
            self._forget_what_was_said()
            self.is_up = True
            self.reconnections += 1
            return

    def _forget_what_was_said(self) -> None:
        """Drops questions and reports that were meant for the connection before this one."""
        jobs = [self._jobs.get_nowait() for _ in range(self._jobs.qsize())]
        for job in jobs:
            if job.outlives_a_connection:
                self._jobs.put(job)
        self._answers.put((self._asked, NoAnswer(reason="the connection was lost")))
