"""Actions: encode beside decode. The only place that knows what the numbers of an action mean.

`encode` turns robot units into what the network sees, `decode` undoes it. Training, policy, simulator, server and evaluation call
the same two, which rules out a skew between training and deployment. See SPEC.md section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.geometry import absolute_pose, matrix_to_rotation_6d, relative_pose, rotation_6d_to_matrix

POSE_WIDTH = 9
EPSILON = 1e-6
REJECT_ABOVE = 100.0

Reference = Literal["absolute", "relative", "delta"]


class ActionError(ValueError):
    """An action or a state that cannot be what it claims to be."""


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """`(x - mean) / (std + 1e-6)`, one mean and deviation per dimension."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ActionError(f"{len(self.mean)} means but {len(self.std)} standard deviations")

    def normalise(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Robot units to z-scores. Raises `ActionError` where |z| > 100 or a number is not finite."""
        z = (x - x.new_tensor(self.mean)) / (x.new_tensor(self.std) + EPSILON)
        if not bool((z.abs() <= REJECT_ABOVE).all()):
            worst = float(x.reshape(-1)[z.abs().nan_to_num(torch.inf).argmax()])
            raise ActionError(f"the value {worst:g} is not finite or more than {REJECT_ABOVE:g} deviations from its mean")
        return z

    def accepts(self, x: Float[Tensor, "*n d"]) -> Bool[Tensor, "*n"]:
        """Which vectors `normalise` takes."""
        z = (x - x.new_tensor(self.mean)) / (x.new_tensor(self.std) + EPSILON)
        return (z.abs() <= REJECT_ABOVE).all(dim=-1)

    def denormalise(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """z-scores to robot units."""
        return z * (z.new_tensor(self.std) + EPSILON) + z.new_tensor(self.mean)


def relative_to_state(poses: Float[Tensor, "*n ha d"], state: Float[Tensor, "*n d"]) -> Float[Tensor, "*n ha d"]:
    """All steps of (position 3, rotation-6D 6) poses, several arms side by side, in the frame of the same current pose."""
    return _poses_in_frame(poses, rearrange(state, "... d -> ... 1 d"))


def absolute_from_relative(relative: Float[Tensor, "*n ha d"], state: Float[Tensor, "*n d"]) -> Float[Tensor, "*n ha d"]:
    """Inverse of `relative_to_state`."""
    return _poses_from_frame(relative, rearrange(state, "... d -> ... 1 d"))


def delta_to_previous(poses: Float[Tensor, "*n ha d"], state: Float[Tensor, "*n d"]) -> Float[Tensor, "*n ha d"]:
    """Every step in the frame of the pose before it, the first in the frame of the state."""
    before = torch.cat([rearrange(state, "... d -> ... 1 d"), poses[..., :-1, :]], dim=-2)
    return _poses_in_frame(poses, before)


def absolute_from_delta(deltas: Float[Tensor, "*n ha d"], state: Float[Tensor, "*n d"]) -> Float[Tensor, "*n ha d"]:
    """Inverse of `delta_to_previous`, step by step."""
    poses, pose = [], state
    for delta in deltas.unbind(-2):
        pose = _poses_from_frame(delta, pose)
        poses.append(pose)
    return torch.stack(poses, dim=-2)


def _poses_in_frame(poses: Tensor, frame: Tensor) -> Tensor:
    p, r = _split(poses)
    p0, r0 = _split(frame)
    return _join(*relative_pose(p, r, p0, r0))


def _poses_from_frame(relative: Tensor, frame: Tensor) -> Tensor:
    p, r = _split(relative)
    p0, r0 = _split(frame)
    return _join(*absolute_pose(p, r, p0, r0))


def _split(poses: Tensor) -> tuple[Tensor, Tensor]:
    arms = rearrange(poses, "... (arm d) -> ... arm d", d=POSE_WIDTH)
    return arms[..., :3], rotation_6d_to_matrix(arms[..., 3:])


def _join(p: Tensor, r: Tensor) -> Tensor:
    return rearrange(torch.cat([p, matrix_to_rotation_6d(r)], dim=-1), "... arm d -> ... (arm d)")


@dataclass(frozen=True, kw_only=True)
class ActionCodec:
    """Robot units to network units and back, for states and chunks.

    Attributes:
        action: Statistics of the action in its `reference`.
        state: Statistics of the absolute state.
        reference: What an action is measured from: nothing ("absolute"), the current state ("relative") or the step before ("delta").
        poses: First index of each arm's (position 3, rotation-6D 6). Every other number is a joint or, if listed, a gripper.
        grippers: Indices that stay absolute in every reference.
    """

    action: Normaliser
    state: Normaliser
    reference: Reference = "absolute"
    poses: tuple[int, ...] = ()
    grippers: tuple[int, ...] = ()

    def encode_state(self, state: Float[Tensor, "*n ds"]) -> Float[Tensor, "*n ds"]:
        """Normalised state."""
        return self.state.normalise(state)

    def encode(self, actions: Float[Tensor, "*n ha da"], state: Float[Tensor, "*n ds"]) -> Float[Tensor, "*n ha da"]:
        """Normalised chunk, measured from `reference`."""
        return self.action.normalise(self.measure(actions, state))

    def accepts(self, actions: Float[Tensor, "*n ha da"], state: Float[Tensor, "*n ds"]) -> Bool[Tensor, "*n"]:
        """Which chunks `encode` takes: no number more than 100 deviations from its mean."""
        return self.action.accepts(self.measure(actions, state)).all(dim=-1)

    def decode(self, z: Float[Tensor, "*n ha da"], state: Float[Tensor, "*n ds"]) -> Float[Tensor, "*n ha da"]:
        """Inverse of `encode`: a chunk in robot units."""
        return self.unmeasure(self.action.denormalise(z), state)

    def measure(self, actions: Float[Tensor, "*n ha da"], state: Float[Tensor, "*n ds"]) -> Float[Tensor, "*n ha da"]:
        """The chunk measured from `reference`, in robot units: what statistics are computed on."""
        if self.reference == "absolute":
            return actions
        out, pose, joint = actions.clone(), self._pose_index(), self._joint_index(actions.shape[-1])
        to_frame = relative_to_state if self.reference == "relative" else delta_to_previous
        out[..., pose] = to_frame(actions[..., pose], state[..., pose]) if pose else out[..., pose]
        current = rearrange(state[..., joint], "... d -> ... 1 d")
        before = current if self.reference == "relative" else torch.cat([current, actions[..., :-1, joint]], dim=-2)
        out[..., joint] = actions[..., joint] - before
        return out

    def unmeasure(self, measured: Float[Tensor, "*n ha da"], state: Float[Tensor, "*n ds"]) -> Float[Tensor, "*n ha da"]:
        """Inverse of `measure`."""
        if self.reference == "absolute":
            return measured
        out, pose, joint = measured.clone(), self._pose_index(), self._joint_index(measured.shape[-1])
        from_frame = absolute_from_relative if self.reference == "relative" else absolute_from_delta
        out[..., pose] = from_frame(measured[..., pose], state[..., pose]) if pose else out[..., pose]
        steps = measured[..., joint] if self.reference == "relative" else measured[..., joint].cumsum(-2)
        out[..., joint] = rearrange(state[..., joint], "... d -> ... 1 d") + steps
        return out

    def _pose_index(self) -> list[int]:
        return [start + k for start in self.poses for k in range(POSE_WIDTH)]

    def _joint_index(self, dim: int) -> list[int]:
        taken = {*self._pose_index(), *self.grippers}
        return [k for k in range(dim) if k not in taken]
