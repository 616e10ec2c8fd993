"""Where a robot's state is after commands, reckoned from them alone: the simulator imagines pictures, not proprioception."""

from __future__ import annotations

import numpy as np

from tau0.contract import Float
from tau0.limits import SafetyLimits


def reckoned_state(state: Float, actions: Float, limits: SafetyLimits) -> Float:
    """The state after `actions`, had the robot followed them exactly and met nothing.

    A step moves the state by its size, and stays within the state's range; a position is where the last command sent it. What a command
    says nothing about (an effort, or a number of unknown meaning) stays as it was.

    Args:
        state: In robot units, shape (ds,), as many numbers as an action has.
        actions: In robot units, shape (steps, da).
        limits: What each number means.
    """
    after = state.astype(np.float64)
    for index, (meaning, size, low, high) in enumerate(
        zip(limits.meaning, limits.step_size, limits.low, limits.high, strict=True)
    ):  # fmt: skip
        if meaning == "position":
            after[index] = actions[-1, index]
        elif meaning == "step":
            inside = sorted((-np.inf if low is None else low, np.inf if high is None else high, after[index]))
            after[index] = np.clip(after[index] + size * actions[:, index].sum(dtype=np.float64), inside[0], inside[-1])
    return after.astype(np.float32)
