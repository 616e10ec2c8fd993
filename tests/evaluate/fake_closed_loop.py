"""The smallest real closed loop: a point that must reach a goal, and an agent that steers it there more or less well."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tau0.contract import ActionChunk, ActionSpec, Camera, Candidates, Decision, Embodiment, Float, Observation
from tau0.evaluate.episodes import Agent
from tau0.worlds.protocol import Misbelief

POINT = Embodiment(
    name="point",
    cameras=(Camera(name="top", height=4, width=6), Camera(name="side", height=4, width=6)),
    state_names=("dx", "dy"),
    action=ActionSpec(names=("x", "y"), low=(-1.0, -1.0), high=(1.0, 1.0)),
    control_hz=10.0,
    action_horizon=5,
    frame_stride=4,
)


class PointWorld:
    """The state is the way to the goal; an action goes a tenth of the way that it names."""

    embodiment = POINT

    def __init__(self, task: str, max_steps: int) -> None:
        self.task, self.max_steps = task, max_steps
        self.renderings = 0
        self.closed = False
        self._way = np.zeros(2)
        self._step = 0
        self._instruction = ""

    def reset(self, seed: int, instruction: str | None = None) -> None:
        self._way = np.random.default_rng([seed, len(self.task)]).uniform(-1, 1, 2)
        self._instruction = instruction or f"do {self.task}"
        self._step = 0

    def state(self) -> Float:
        return self._way.astype(np.float32)

    def observe(self) -> Observation:
        self.renderings += 1
        images = {camera.name: np.full((camera.height, camera.width, 3), self._step, np.uint8) for camera in POINT.cameras}
        return Observation(images=images, state=self.state(), instruction=self._instruction, step=self._step)

    def step(self, action: Float) -> bool:
        self._way = self._way - 0.1 * POINT.action.clip(action)
        self._step += 1
        return bool(np.abs(self._way).max() < 0.1)

    def expert_action(self, misbelief: Misbelief | None = None) -> Float:
        wrong = np.asarray((misbelief or Misbelief()).goal[:2])
        return np.clip(10 * (self._way + wrong), -1, 1).astype(np.float32)

    def snapshot(self) -> Any:
        return self._way.copy(), self._step

    def restore(self, snapshot: Any) -> None:
        self._way, self._step = snapshot[0].copy(), snapshot[1]

    def close(self) -> None:
        self.closed = True


class SteeringAgent:
    """Goes for the goal with noise drawn from the episode's seed; forgets everything on reset."""

    def __init__(self, mode: str, noise: float, chunk_steps: int = 3) -> None:
        self._mode, self._noise, self._chunk_steps = mode, noise, chunk_steps
        self._rng = np.random.default_rng(0)
        self.num_decisions = 0

    def reset(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.num_decisions = 0

    def decide(self, observation: Observation) -> Decision:
        self.num_decisions += 1
        wish = np.clip(10 * observation.state, -1, 1) + self._noise * self._rng.normal(size=(1, self._chunk_steps, 2))
        actions = wish.astype(np.float32)
        full = self._mode == "full"
        passed = self.num_decisions == 1 if full else None
        return Decision(
            step=observation.step,
            mode=self._mode,
            proposals=Candidates(actions=actions, progress=np.zeros(actions.shape[:2], np.float32) if passed is False else None),
            choice="single",
            chosen=0,
            chunk=ActionChunk(actions=actions[0], control_hz=10.0),
            gate_passed=passed,
        )


@dataclass(frozen=True, kw_only=True)
class SteeringSource:
    """Makes a `SteeringAgent`."""

    mode: str
    noise: float
    checkpoint: str = "a"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.checkpoint} {self.noise}".encode()).hexdigest()[:12]

    @property
    def checkpoint_hash(self) -> str:
        return self.checkpoint

    @property
    def scored_by(self) -> str:
        return self.checkpoint

    def build(self) -> Agent:
        return SteeringAgent(self.mode, self.noise)


class DyingAgent(SteeringAgent):
    """Takes its process with it, as running out of memory does."""

    def decide(self, observation: Observation) -> Decision:
        if observation.step > 0:
            os._exit(9)
        return super().decide(observation)


@dataclass(frozen=True, kw_only=True)
class DyingSource(SteeringSource):
    """Makes a `DyingAgent`."""

    def build(self) -> Agent:
        return DyingAgent(self.mode, self.noise)


class ConfusedAgent(SteeringAgent):
    """Fails in the middle of an episode."""

    def decide(self, observation: Observation) -> Decision:
        raise RuntimeError(f"no idea at step {observation.step}")


@dataclass(frozen=True, kw_only=True)
class ConfusedSource(SteeringSource):
    """Makes a `ConfusedAgent`."""

    def build(self) -> Agent:
        return ConfusedAgent(self.mode, self.noise)


SOURCES = (SteeringSource(mode="single", noise=6.0), SteeringSource(mode="full", noise=1.0))
