"""An agent with several candidates in the world of a point, some good and some bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tau0.contract import ActionChunk, Candidates, Decision, Observation
from tau0.evaluate.episodes import Agent
from tau0.evaluate.oracle import Picks, Rehearsal

CHUNK = 3


class GuessingAgent:
    """Draws directions at random, `goodness` of the way towards the goal, and executes the first. Scores by chance or by the truth.

    Where its gate does not pass, the first `imagined` candidates are said to have been simulated.
    """

    def __init__(
        self,
        num: int = 4,
        goodness: float = 0.3,
        scores: Literal["none", "true", "wrong"] = "none",
        passes: bool = True,
        imagined: int = 0,
    ) -> None:
        self._num, self._goodness, self._scores, self._passes, self._imagined = num, goodness, scores, passes, imagined
        self._rng = np.random.default_rng(0)

    def reset(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def decide(self, observation: Observation) -> Decision:
        right = np.clip(10 * observation.state, -1, 1)
        noise = self._rng.uniform(-1, 1, size=(self._num, 1, 2))
        wish = np.repeat(self._goodness * right + (1 - self._goodness) * noise, CHUNK, axis=1).astype(np.float32)
        truth = -np.linalg.norm(observation.state - 0.1 * wish.sum(axis=1), axis=1).astype(np.float32)
        scores = {"none": None, "true": truth, "wrong": -truth}[self._scores]
        chosen = 0 if scores is None else int(scores.argmax())
        progress = None
        if self._imagined and not self._passes:
            progress = np.full((self._num, CHUNK), np.nan, np.float32)
            progress[: self._imagined] = 0.5
        return Decision(
            step=observation.step,
            mode="rcs",
            proposals=Candidates(actions=wish, scores=scores, progress=progress),
            choice="rcs",
            chosen=chosen,
            chunk=ActionChunk(actions=wish[chosen], control_hz=10.0),
            gate_threshold=0.0,
            gate_passed=self._passes,
        )


@dataclass(frozen=True, kw_only=True)
class GuessingSource:
    """Makes a `GuessingAgent` whose candidates are all tried, and an oracle where it picks."""

    mode: str
    picks: Picks = "never"
    scores: Literal["none", "true", "wrong"] = "none"
    goodness: float = 0.3

    @property
    def fingerprint(self) -> str:
        return f"{self.picks} {self.scores} {self.goodness}"

    @property
    def scored_by(self) -> str:
        return "guesses"

    def build(self) -> Agent:
        return Rehearsal(GuessingAgent(scores=self.scores, goodness=self.goodness), self.picks, self.mode)
