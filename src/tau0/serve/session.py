"""One connection: a robot's episodes, one message after the other. Nothing in here is known to any other connection."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import replace
from typing import Any

from tau0.actions import ActionError
from tau0.checkpoint import CheckpointError
from tau0.contract import ContractError, Decision, Observation
from tau0.serve import live, wire
from tau0.serve.agents import Agent
from tau0.serve.answers import decision_answer, outlook_answer, refusal_answer
from tau0.serve.engine import AbandonedError, Done
from tau0.serve.limits import RateLimit
from tau0.serve.live import Push
from tau0.serve.logs import event
from tau0.serve.metadata import check_planner
from tau0.serve.protocol import Configure, Imagine, Observe, PlannerChoice, RefusedError, Report, Request, Reset, Resume, Stop
from tau0.serve.requests import parse
from tau0.serve.safety import KINDS
from tau0.serve.service import Service

Answer = bytes | str | None


class Session:
    """Answers the messages of one connection."""

    def __init__(self, service: Service, push: Push, planner: PlannerChoice | None = None) -> None:
        """At the start of an episode of seed 0. `push` sends what answers no message."""
        self.id = uuid.uuid4().hex[:12]
        self.queries = 0
        self._service, self._push = service, push
        self._view = service.live.joined(self.id, push)
        self._planner = planner or service.metadata.planner
        self._agent: Agent | None = None
        self._seed, self._next_step, self._last_step = 0, 0, -1
        self._rate = RateLimit(service.limits.messages_per_s)
        self._previous_ms: float | None = None
        self._tape = None if service.recorder is None else service.recorder.tape(self.id)

    async def answer(self, data: bytes | str, gone: asyncio.Future[Any]) -> Answer:
        """What to send back; None for nothing. `gone` is done when nobody waits for the answer any more.

        Raises:
            AbandonedError: The client went away while it waited.
        """
        started, request = time.perf_counter(), None
        try:
            if not self._rate.take():
                raise RefusedError("rate", f"more than {self._service.limits.messages_per_s:g} messages a second; send fewer")
            message = _decoded(data)
            is_plain = "type" not in message
            try:
                request = parse(message, self._service.metadata.embodiment)
                answer = await self._obey(request, gone)
            except RefusedError as refusal:
                return self._refuse(refusal, is_plain, _is_report(message))
        except RefusedError as refusal:
            return self._refuse(refusal, is_plain=True, is_silent=False)
        except AbandonedError:
            raise
        except Exception as error:
            return self._refuse(self._mistake(error), is_plain=True, is_silent=False)
        self._previous_ms = 1000 * (time.perf_counter() - started)
        self._service.metrics.answered(type(request).__name__.lower(), self._previous_ms / 1000)
        return None if answer is None else wire.encode(answer)

    def _refuse(self, refusal: RefusedError, is_plain: bool, is_silent: bool) -> Answer:
        self._service.metrics.refused(refusal.code)
        event("refused", session=self.id, code=refusal.code, reason=str(refusal))
        if is_silent:
            return None
        return str(refusal) if is_plain else wire.encode(refusal_answer(refusal))

    async def _obey(self, request: Request, gone: asyncio.Future[Any]) -> dict[str, Any] | None:
        """The answer to a request; None for none."""
        if isinstance(request, Observe):
            return await self._observe(request, gone)
        if isinstance(request, Report):
            return self._report(request)
        if isinstance(request, Imagine):
            agents = self._service.agents
            outlook = await self._on_model(lambda: agents.imagine(request.observation, request.actions, request.wants_frames), gone)
            return outlook_answer(outlook.result)
        if isinstance(request, Reset):
            self._reset(request)
        elif isinstance(request, Configure):
            self._configure(request)
        elif isinstance(request, Stop | Resume):
            self._service.set_stop(request.reason if isinstance(request, Stop) else None)
        return {"type": "done"}

    async def _observe(self, request: Observe, gone: asyncio.Future[Any]) -> dict[str, Any]:
        self._service.check_open()
        self._service.check_moving(self._view)
        observation = self._counted(request)
        done: Done[Decision] = await self._on_model(lambda: self._decide(observation), gone)
        self._service.check_moving(self._view)
        decision = done.result
        self.queries += 1
        self._last_step, self._next_step = observation.step, observation.step + len(decision.chunk)
        self._service.metrics.decided(decision, done.queue_ms)
        live.decided(self._view, observation, decision, done.queue_ms, done.work_ms)
        if self._tape is not None:
            self._tape.decided(observation, decision)
        timing = {"infer_ms": done.work_ms, "queue_ms": done.queue_ms}
        if self._previous_ms is not None:
            timing["prev_total_ms"] = self._previous_ms
        return decision_answer(decision, timing, request.wants_details)

    def _counted(self, request: Observe) -> Observation:
        """The observation with its control step: the client's, or the one after all actions that were sent."""
        observation = request.observation
        if not request.has_step:
            return replace(observation, step=self._next_step)
        if observation.step < self._last_step:
            raise RefusedError(
                "contract", f"step {observation.step} comes after step {self._last_step}: send a reset when an episode starts"
            )
        return observation

    def _decide(self, observation: Observation) -> Decision:
        """Runs in the model's thread."""
        if self._agent is None:
            self._agent = self._service.agents.take(self._planner)
            self._agent.reset(self._seed)
        return self._agent.decide(observation)

    async def _on_model(self, work: Any, gone: asyncio.Future[Any]) -> Done[Any]:
        """The outcome of work in the model's thread. What goes wrong there is told without its traceback, which goes into the log."""
        try:
            return await self._service.engine.run(work, gone)
        except (ContractError, ActionError, CheckpointError) as error:
            raise RefusedError("contract", str(error)) from error
        except (RefusedError, AbandonedError):
            raise
        except Exception as error:
            raise self._mistake(error) from error

    def _mistake(self, error: Exception) -> RefusedError:
        """What a client is told of a mistake of ours; the log has the rest."""
        number = uuid.uuid4().hex[:8]
        event("failed", logging.ERROR, error, session=self.id, number=number)
        return RefusedError("internal", f"the server made a mistake; its log has it under number {number}")

    def _reset(self, request: Reset) -> None:
        if self._tape is not None:
            self._tape.end(request.outcome)
        live.restarted(self._view)
        self._seed, self._next_step, self._last_step = request.seed, 0, -1
        if self._agent is not None:
            self._agent.reset(request.seed)

    def _configure(self, request: Configure) -> None:
        if request.embodiment is not None:
            try:
                self._service.metadata.embodiment.check(request.embodiment)
            except ContractError as error:
                raise RefusedError("contract", str(error)) from error
        if request.planner is not None:
            try:
                check_planner(request.planner, self._service.metadata)
            except ValueError as error:
                raise RefusedError("malformed", str(error)) from error
            if request.planner != self._planner:
                self._release()
                self._planner, self._next_step, self._last_step = request.planner, 0, -1
        if request.events is not None:
            (self._service.listeners.add if request.events else self._service.listeners.discard)(self._push)

    def _report(self, request: Report) -> None:
        self._service.metrics.tripped(request.trips)
        live.tripped(self._view, {name: count for name, count in request.trips.items() if name in KINDS})
        if request.observation is None or request.action is None:
            return
        if self._tape is None:
            raise RefusedError("unavailable", "this server does not record; start it with --record FOLDER")
        live.saw(self._view, request.observation)
        self._tape.saw(request.observation, request.action)

    def _release(self) -> None:
        if self._agent is not None:
            self._service.agents.put_back(self._planner, self._agent)
        self._agent = None

    def close(self, was_asking: bool) -> None:
        """The connection is over. An agent that may still be deciding is left to itself."""
        self._service.listeners.discard(self._push)
        self._service.live.left(self.id)
        if self._tape is not None:
            self._tape.end(None)
        if not was_asking:
            self._release()
        self._agent = None


def _decoded(data: bytes | str) -> dict[str, Any]:
    if isinstance(data, str):
        raise RefusedError("malformed", "messages are binary (msgpack), this one is text")
    try:
        return wire.decode(data)
    except wire.WireError as error:
        raise RefusedError("malformed", str(error)) from error


def _is_report(message: dict[str, Any]) -> bool:
    """Whether nobody waits for an answer to this, whatever is wrong with it."""
    kind = message.get("type")
    return isinstance(kind, str) and kind == "report"
