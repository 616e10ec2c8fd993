"""Which past observations the simulator remembers: one rule for training windows and for the closed loop (SPEC.md section 4)."""

from __future__ import annotations

from bisect import bisect_left
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Frame = TypeVar("Frame")

MAX_FRAMES = 1024
"""Most frames that are kept of an episode: robots may run for days, and every server has an end."""


def memory_indices(t: ArrayLike, num_memory: int) -> NDArray[np.int64]:
    """Steps of the `m` remembered frames at step `t`: `floor(i t / m)` for i in 0 .. m-1.

    They are spread evenly over the past [0, t), oldest first and always from the first frame on. While there is no history (t = 0) the
    first frame is repeated.

    Args:
        t: Control steps since the start of the episode, any shape, >= 0.
        num_memory: The number `m` of remembered frames, >= 0.

    Returns:
        Steps of shape (*t.shape, m), each < max(t, 1).

    Raises:
        ValueError: When a step or `num_memory` is negative.
    """
    now = np.asarray(t, np.int64)
    if num_memory < 0:
        raise ValueError(f"num_memory must be at least 0, got {num_memory}")
    if now.size and now.min() < 0:
        raise ValueError(f"steps count from 0, got {int(now.min())}")
    return now[..., None] * np.arange(num_memory) // max(num_memory, 1)


class Memory(Generic[Frame]):
    """The past of one running episode, of which `frames` recalls `m` observations.

    A robot need not observe at every step (rendering is expensive, and chunks run open loop): a step that was not observed is
    replaced by the nearest one before `t` that was. When every step is recorded, the frames are exactly those at `memory_indices`.
    """

    def __init__(self, num_memory: int, capacity: int = MAX_FRAMES) -> None:
        """Empty.

        Args:
            num_memory: The number `m` of frames that are recalled.
            capacity: Most frames that are kept. Of an episode with more observations every second is, then every fourth, and the newest:
                what is recalled is then off by at most its length divided by half the capacity.

        Raises:
            ValueError: When the capacity is below 2.
        """
        if capacity < 2:
            raise ValueError(f"capacity must be at least 2, got {capacity}")
        self.num_memory, self.capacity = num_memory, capacity
        self._steps: list[int] = []
        self._frames: list[Frame] = []
        self._number, self._every = 0, 1

    def __len__(self) -> int:
        return len(self._steps)

    def reset(self) -> None:
        """Forgets everything: the next episode must not remember this one."""
        self._steps.clear()
        self._frames.clear()
        self._number, self._every = 0, 1

    def record(self, step: int, frame: Frame) -> None:
        """Keeps what was seen at `step`, in control steps since the reset. Recording a step twice keeps the later frame.

        Raises:
            ValueError: When `step` lies before the last one, which means that `reset` was forgotten.
        """
        if self._steps and step < self._steps[-1]:
            raise ValueError(f"step {step} comes after step {self._steps[-1]}: call reset() when an episode starts")
        if self._steps and step == self._steps[-1]:
            self._frames[-1] = frame
            return
        self._make_room()
        self._steps.append(step)
        self._frames.append(frame)
        self._number += 1

    def _make_room(self) -> None:
        """Drops the newest frame when it was kept for being the newest alone, and every second one when there is no room for another."""
        if self._steps and (self._number - 1) % self._every:
            self._steps.pop()
            self._frames.pop()
        if len(self._steps) == self.capacity:
            self._every *= 2
            self._steps, self._frames = self._steps[::2], self._frames[::2]

    def steps(self, t: int) -> list[int]:
        """The recorded steps that stand for `memory_indices(t, m)`, oldest first.

        Raises:
            ValueError: When nothing is recorded up to `t`.
        """
        return [self._steps[i] for i in self._positions(t)]

    def frames(self, t: int) -> list[Frame]:
        """The `m` frames remembered at step `t`, oldest first. The frame of `t` itself only counts while there is no other.

        Raises:
            ValueError: When nothing is recorded up to `t`.
        """
        return [self._frames[i] for i in self._positions(t)]

    def _positions(self, t: int) -> list[int]:
        past = bisect_left(self._steps, t)
        if not past and not (self._steps and self._steps[0] == t):
            raise ValueError(f"nothing is recorded up to step {t}: record the observation before asking for its memory")
        return [self._nearest(int(wanted), max(past, 1)) for wanted in memory_indices(t, self.num_memory)]

    def _nearest(self, wanted: int, past: int) -> int:
        after = min(bisect_left(self._steps, wanted, 0, past), past - 1)
        before = max(after - 1, 0)
        return before if wanted - self._steps[before] <= self._steps[after] - wanted else after
