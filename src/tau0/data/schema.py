"""The names and types of what tau0 records: LeRobot v3.0 features, and its own columns for each episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Float, Pixels

CODEBASE_VERSION = "v3.0"

IMAGE_PREFIX = "observation.images."
STATE = "observation.state"
ACTION = "action"
EXPERT_ACTION = "action.expert"
PROGRESS = "progress"
NEXT_SUCCESS = "next.success"
NEXT_DONE = "next.done"
TIMESTAMP = "timestamp"
FRAME_INDEX = "frame_index"
EPISODE_INDEX = "episode_index"
INDEX = "index"
TASK_INDEX = "task_index"
SUBTASK_INDEX = "subtask_index"

EPISODE_TASK = "tau0.task"
EPISODE_KIND = "tau0.kind"
EPISODE_SUCCESS = "tau0.success"
EPISODE_SEED = "tau0.seed"
EPISODE_BRANCH = "tau0.branch"
EPISODE_BEHAVIOUR = "tau0.behaviour"
EPISODE_GROUP = "tau0.group"
EPISODE_PARENT = "tau0.parent"
EPISODE_PARENT_FRAME = "tau0.parent_frame"
EPISODE_REMAINING = "tau0.remaining"
EPISODE_INSTRUCTION = "tau0.instruction"

Kind = Literal["demonstration", "failure", "branch"]
Branch = Literal["expert", "near_miss", "wrong", ""]


def image_key(camera: str) -> str:
    """The feature name of a camera, such as "observation.images.front"."""
    return IMAGE_PREFIX + camera


@dataclass(frozen=True, kw_only=True)
class EpisodeMeta:
    """What is known about a whole episode. Each attribute is a column `tau0.<name>` of the episode table.

    Attributes:
        task: The world's name of the task, such as "reach-v3".
        kind: What the episode is for.
        success: Whether the task was solved in it.
        seed: Of the world's initial state.
        instruction: What to do, in words.
        behaviour: What acted, in words of the collector.
        branch: What was executed from the shared state; "" unless a branch.
        group: Branches from one state share this number; -1 unless a branch.
        parent: Episode index of the episode that a branch leaves; -1 unless a branch.
        parent_frame: The frame of the parent that is the branch's first; -1 unless a branch.
        remaining: Steps that the expert still needed after the branch's last frame, 0 when solved there; -1 unknown or never.
    """

    task: str
    kind: Kind
    success: bool
    seed: int
    instruction: str
    behaviour: str = ""
    branch: Branch = ""
    group: int = -1
    parent: int = -1
    parent_frame: int = -1
    remaining: int = -1


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One recorded episode of `t` steps. Row i holds what was seen before action i, and what came of it.

    Attributes:
        meta: What is known about the whole.
        images: Camera name to uint8 pixels, shape (t, height, width, 3).
        state: Robot units, shape (t, ds).
        action: Executed, robot units, shape (t, da).
        expert_action: What the expert would have done there, robot units, shape (t, da).
        progress: Labels in [-1, 1], shape (t,).
        next_success: Whether the task was solved after action i, shape (t,).
    """

    meta: EpisodeMeta
    images: Mapping[str, Pixels]
    state: Float
    action: Float
    expert_action: Float
    progress: Float
    next_success: NDArray[np.bool_]

    def __post_init__(self) -> None:
        steps = len(self.state)
        arrays = {"action": self.action, "expert_action": self.expert_action, "progress": self.progress, "next_success": self.next_success}
        for name, array in {**arrays, **self.images}.items():
            if len(array) != steps:
                raise ValueError(f"episode of {steps} states has {len(array)} of {name}; all must have one length")

    def __len__(self) -> int:
        return len(self.state)

    @property
    def next_done(self) -> NDArray[np.bool_]:
        """True at the last row only, shape (t,)."""
        done = np.zeros(len(self), np.bool_)
        done[-1] = True
        return done

    @classmethod
    def fake(cls, steps: int = 20, seed: int = 0, cameras: tuple[str, ...] = ("front", "wrist"), size: int = 32) -> EpisodeRecord:
        """A random episode of the right shape, for tests."""
        rng = np.random.default_rng(seed)
        ramp = np.linspace(0, 200, size, dtype=np.uint8)
        still = np.broadcast_to(ramp[None, :, None, None], (steps, size, size, 3))
        images = {name: (still + np.arange(steps, dtype=np.uint8)[:, None, None, None]).astype(np.uint8) for name in cameras}
        numbers = rng.uniform(-1, 1, (3, steps, 4)).astype(np.float32)
        return cls(
            meta=EpisodeMeta(task="reach-v3", kind="demonstration", success=True, seed=seed, instruction=f"reach the ball {seed % 2}"),
            images=images,
            state=numbers[0],
            action=numbers[1],
            expert_action=numbers[2],
            progress=np.linspace(-1, 1, steps, dtype=np.float32),
            next_success=np.arange(steps) >= steps - 5,
        )
