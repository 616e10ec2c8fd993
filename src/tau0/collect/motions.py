"""How an action is changed, whatever its numbers mean: more or less of its motion, another motion, another gripper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ActionSpec, Embodiment, Float
from tau0.worlds.protocol import World

_PUSH_M = 0.03
_POSE_WIDTH = 9

Direction = NDArray[np.floating]
"""Motion of every hand, shape (3 hands,); 1 is as fast as a disturbance gets."""


class Motions(Protocol):
    """What the numbers of one robot's actions do to its hands."""

    @property
    def spec(self) -> ActionSpec:
        """Limits and grippers of the action."""
        ...

    @property
    def hands(self) -> int:
        """How many hands move."""
        ...

    def moved(self, world: World, action: Float, share: float, extra: Direction) -> Float:
        """`share` of the action's motion plus `extra`, clipped; the grippers as they were."""
        ...


@dataclass(frozen=True, kw_only=True)
class Displacements:
    """One hand whose first three numbers are how far it moves, such as Meta-World's."""

    spec: ActionSpec
    hands: int = 1

    def moved(self, world: World, action: Float, share: float, extra: Direction) -> Float:  # noqa: ARG002
        """See `Motions`."""
        changed = action.copy()
        changed[:3] = share * action[:3] + extra
        return self.spec.clip(changed).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Poses:
    """Hands whose ten numbers are where each should be: position, rotation-6D and gripper. An extra of 1 is 3 cm away."""

    spec: ActionSpec
    hands: int

    def moved(self, world: World, action: Float, share: float, extra: Direction) -> Float:
        """See `Motions`. Rotations are left as they are."""
        state, changed = world.state(), action.copy()
        for hand, gripper in enumerate(self.spec.gripper):
            place = slice(gripper - _POSE_WIDTH, gripper - _POSE_WIDTH + 3)
            changed[place] = state[place] + share * (action[place] - state[place]) + _PUSH_M * extra[3 * hand : 3 * hand + 3]
        return self.spec.clip(changed).astype(np.float32)


def motions_of(embodiment: Embodiment) -> Motions:
    """What the numbers of this robot's actions do: ten a hand are poses, otherwise the first three are a displacement."""
    spec = embodiment.action
    if spec.dim == (_POSE_WIDTH + 1) * len(spec.gripper):
        return Poses(spec=spec, hands=len(spec.gripper))
    return Displacements(spec=spec)


def with_grippers(action: Float, spec: ActionSpec, closed: float) -> Float:
    """The action with every gripper at a share `closed` of its range: 0 is open, 1 closed."""
    changed = action.copy()
    for index in spec.gripper:
        changed[index] = spec.low[index] + closed * (spec.high[index] - spec.low[index])
    return changed


def with_grippers_flipped(action: Float, spec: ActionSpec) -> Float:
    """The action with every gripper open that was closed, and closed that was open."""
    changed = action.copy()
    for index in spec.gripper:
        changed[index] = spec.low[index] + spec.high[index] - action[index]
    return changed
