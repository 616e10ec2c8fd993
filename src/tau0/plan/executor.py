"""From chunks that come late to one action in each control step. No torch: this runs where the robot is.

An executor is told when a query begins and when its answer is there, and says what to do in between. It counts control steps, not seconds,
so that a loop in real time and one in simulated time are the same to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tau0.contract import ActionChunk, Commitment, ContractError, Float

Kind = Literal["naive", "async", "rtc", "ensemble"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class ExecutorConfig:
    """How chunks are executed.

    Attributes:
        kind: "naive" waits for the answer, and then executes it. "async" goes on with the last chunk while it waits, and enters the new one
            where the robot is by then. "rtc" does the same, and has the new chunk continue the last one (`tau0.policy.inpainting`).
            "ensemble" asks all the time, and averages all chunks that have something to say (Zhao et al. 2023, temporal ensembling).
        action_horizon: Steps of a whole chunk.
        query_every: Steps executed since an observation before the next one is taken. As many are kept of every new chunk, however late
            it comes: the robot rather waits.
        num_delays: How many delays are remembered; the longest of them is what is expected of the next query.
        decay: Of the ensemble's weights `exp(-decay i)`, where i counts from the oldest chunk.
    """

    kind: Kind
    action_horizon: int
    query_every: int
    num_delays: int = 10
    decay: float = 0.01

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ContractError(f"executor is {self.kind!r}, expected one of {KINDS}")
        if not 1 <= self.query_every <= self.action_horizon:
            raise ContractError(f"need 1 <= query_every <= action_horizon, got {self.query_every} and {self.action_horizon}")
        if self.num_delays < 1 or not 0 <= self.decay < np.inf:
            raise ContractError(f"need at least one delay and a decay of at least 0, got {self.num_delays} and {self.decay}")


@dataclass(kw_only=True)
class _Chunk:
    """An answer, and how far it has been executed; `asked_at` is the control step of its observation."""

    actions: Float
    position: int
    asked_at: int

    @property
    def left(self) -> Float:
        return self.actions[self.position :]


class ChunkExecutor:
    """The actions of one robot, step by step."""

    def __init__(self, config: ExecutorConfig, action_dim: int) -> None:
        """An executor of actions of `action_dim` numbers, at the start of an episode; no delay is known yet."""
        self.config = config
        self._nothing = np.zeros((0, action_dim), np.float32)
        self._delays: deque[int] = deque(maxlen=config.num_delays)
        self._chunks: list[_Chunk] = []
        self._asked_at: int | None = None
        self._moved = 0

    def reset(self) -> None:
        """Forgets the last episode, but not how long answers take."""
        self._chunks, self._asked_at, self._moved = [], None, 0

    @property
    def delay_steps(self) -> int:
        """Control steps that the next answer is expected to take: the most of those lately measured."""
        return max(self._delays, default=0)

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self._asked_at is not None

    @property
    def observed_at(self) -> int | None:
        """Control step of the oldest observation that the next action follows from; None where there is no action."""
        return min((chunk.asked_at for chunk in self._chunks), default=None)

    @property
    def should_ask(self) -> bool:
        """Whether a query should begin in this control step."""
        if self._asked_at is not None:
            return False
        if self.config.kind == "ensemble" or not self._chunks:
            return True
        newest = self._chunks[-1]
        return self.config.kind != "naive" and (
            newest.position >= self.config.query_every or len(newest.left) <= self.delay_steps
        )  # fmt: skip

    def ask(self, step: int) -> Commitment | None:
        """A query begins with an observation of control step `step`. Returns what the observation should say of the robot's plans."""
        self._asked_at, self._moved = step, 0
        if self.config.kind == "naive":
            return None
        if self.config.kind != "rtc" or not self._chunks:
            return Commitment(actions=self._nothing, num_frozen=0)
        actions = self._chunks[-1].left[: self._most_moved]
        return Commitment(actions=actions, num_frozen=min(self.delay_steps, len(actions)))

    def answer(self, chunk: ActionChunk, step: int) -> None:
        """The answer to the query is there, before the action of control step `step`.

        Raises:
            ContractError: Nothing was asked.
        """
        if self._asked_at is None:
            raise ContractError(f"a chunk came at step {step}, but nothing was asked")
        self._delays.append(step - self._asked_at)
        arrived = _Chunk(actions=chunk.actions, position=self._moved, asked_at=self._asked_at)
        self._chunks = [*self._chunks, arrived] if self.config.kind == "ensemble" else [arrived]
        self._asked_at = None
        self._drop_spent()

    def give_up(self) -> None:
        """There will be no answer: the server is gone, or refused. What is left of the last chunk is executed."""
        self._asked_at = None

    def next(self) -> Float | None:
        """The action of this control step, shape (da,); None to hold still."""
        waits = self._asked_at is not None and self.config.kind != "ensemble" and self._moved >= self._most_moved
        if not self._chunks or waits:
            return None
        now = np.stack([chunk.actions[chunk.position] for chunk in self._chunks])
        weights = np.exp(-self.config.decay * np.arange(len(now)))
        action = (weights[:, None] * now).sum(axis=0) / weights.sum()
        for chunk in self._chunks:
            chunk.position += 1
        self._moved += 1
        self._drop_spent()
        return action.astype(np.float32)

    @property
    def _most_moved(self) -> int:
        """Most steps that may be executed while waiting, so that the new chunk has `query_every` left when it comes."""
        return self.config.action_horizon - self.config.query_every

    def _drop_spent(self) -> None:
        self._chunks = [chunk for chunk in self._chunks if len(chunk.left) > 0]
