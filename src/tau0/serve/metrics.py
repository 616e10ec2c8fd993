"""What the server counts, in the form of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tau0.contract import Choice, Decision
from tau0.serve.protocol import Refusal
from tau0.serve.safety import KINDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OTHER = "other"


class Metrics:
    """Counters of one server. Labels come from lists of ours, never from a client."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """All zero. `waiting` tells how many queries wait for the model or are in it."""
        self._registry = registry = CollectorRegistry()
        self._stage = Histogram("tau0_stage_seconds", "Time by stage of a decision", ["stage"], buckets=_BUCKETS, registry=registry)
        self._request = Histogram(
            "tau0_request_seconds", "Time from message to answer", ["request"], buckets=_BUCKETS, registry=registry
        )  # fmt: skip
        self._queue = Histogram("tau0_queue_seconds", "Time that queries waited for the model", buckets=_BUCKETS, registry=registry)
        self._decisions = Counter("tau0_decisions", "Decisions by the rule that chose", ["choice"], registry=registry)
        self._simulations = Counter("tau0_simulations", "Decisions that imagined futures", registry=registry)
        self._gates = Counter("tau0_gates", "Gates asked", ["outcome"], registry=registry)
        self._refusals = Counter("tau0_refusals", "Messages and connections refused, by reason", ["code"], registry=registry)
        self._trips = Counter("tau0_safety_trips", "Safety limits that intervened, as robots report them", ["limit"], registry=registry)
        self._rows = Counter("tau0_recorded_steps", "Control steps kept by the recorder", registry=registry)
        self.connections = Gauge("tau0_connections", "Robots connected", registry=registry)
        self.is_stopped = Gauge("tau0_stopped", "1 while the emergency stop holds", registry=registry)
        Gauge("tau0_queue", "Queries that wait for the model or are in it", registry=registry).set_function(waiting)
        for counter, labels in ((self._refusals, get_args(Refusal)), (self._decisions, get_args(Choice)), (self._trips, KINDS)):
            for label in labels:
                counter.labels(label)

    def decided(self, decision: Decision, queue_ms: float) -> None:
        """Counts one decision and what it took."""
        for stage, milliseconds in decision.milliseconds.items():
            self._stage.labels(stage).observe(milliseconds / 1000)
        self._queue.observe(queue_ms / 1000)
        self._decisions.labels(decision.choice).inc()
        if decision.proposals.progress is not None:
            self._simulations.inc()
        if decision.gate_passed is not None:
            self._gates.labels("passed" if decision.gate_passed else "failed").inc()

    def answered(self, request: str, seconds: float) -> None:
        """Counts one answer. `request` is a name of ours."""
        self._request.labels(request).observe(seconds)

    def refused(self, code: Refusal) -> None:
        """Counts one refusal."""
        self._refusals.labels(code).inc()

    def tripped(self, trips: Mapping[str, int]) -> None:
        """Counts what a robot's safety filter did. Limits that nobody here knows count as one."""
        for name, count in trips.items():
            self._trips.labels(name if name in KINDS else _OTHER).inc(count)

    def recorded(self, rows: int) -> None:
        """Counts control steps that were written."""
        self._rows.inc(rows)

    def exposition(self) -> bytes:
        """All of it, as text for Prometheus."""
        return generate_latest(self._registry)
