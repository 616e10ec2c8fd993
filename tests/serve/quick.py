"""Agents that answer at once, or as slowly as a test wants, where it is not the model that is tested."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from tau0.contract import ActionChunk, Candidates, Decision, Float, Observation
from tau0.limits import SafetyLimits
from tau0.serve.agents import Agents
from tau0.serve.answers import Outlook
from tau0.serve.limits import ServeLimits
from tau0.serve.metadata import Metadata
from tau0.serve.protocol import PlannerChoice, RefusedError
from tiny import EMBODIMENT

SINGLE = PlannerChoice(mode="single", candidates=1)
SAFETY = SafetyLimits(
    meaning=("step", "step", "step", "effort"),
    step_size=(1.0,) * 4,
    low=(None,) * 4,
    high=(None,) * 4,
    speed=(None,) * 4,
    acceleration=(None,) * 4,
)


class QuickAgent:
    """Answers eight times its seed's action."""

    def __init__(self, owner: QuickAgents) -> None:
        self._owner, self._seed = owner, 0

    def reset(self, seed: int) -> None:
        self._seed = seed

    def decide(self, observation: Observation) -> Decision:
        self._owner.began.append(observation.step)
        if self._owner.seconds:
            time.sleep(self._owner.seconds)
        self._owner.gate.wait(10)
        actions = np.full((8, 4), 0.01 * (1 + self._seed % 7), np.float32)
        return Decision(
            step=observation.step,
            mode="single",
            proposals=Candidates(actions=actions[None]),
            choice="single",
            chosen=0,
            chunk=ActionChunk(actions=actions, control_hz=EMBODIMENT.control_hz),
            milliseconds={"total": 0.0},
        )


class QuickAgents(Agents):
    """Takes `seconds` for a decision, and none while `gate` is closed. `began` has the steps of all queries that were begun."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.began = seconds, []
        self.gate = threading.Event()
        self.gate.set()

    def take(self, choice: PlannerChoice) -> Any:  # noqa: ARG002
        return QuickAgent(self)

    def put_back(self, choice: PlannerChoice, agent: Any) -> None:
        pass

    def imagine(self, observation: Observation, actions: Float, wants_frames: bool) -> Outlook:  # noqa: ARG002
        raise RefusedError("unavailable", "these agents imagine nothing")

    def metadata(self, limits: ServeLimits, records: bool) -> Metadata:
        return Metadata(
            checkpoint="quick",
            fingerprint="0",
            embodiment=EMBODIMENT,
            safety=SAFETY,
            planner=SINGLE,
            modes=("single", "rcs", "full"),
            execute_steps=8,
            max_candidates=limits.max_candidates,
            max_message_bytes=limits.max_message_bytes,
            records=records,
        )
