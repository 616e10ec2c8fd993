"""Chunks that were not executed: what a simulator is asked about to see whether actions matter to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from tau0.actions import POSE_WIDTH, REJECT_ABOVE, ActionCodec
from tau0.checkpoint import CheckpointConfig
from tau0.geometry import matrix_to_rotation_6d, rotation_6d_to_matrix

LARGEST = 2.0
"""Deviations from the mean within which random actions stay: further out a simulator cannot know anything."""


def told_codec(config: CheckpointConfig) -> ActionCodec:
    """What normalises the actions that the simulator is told of recordings of the checkpoint's own robot.

    Steps and velocities stay as they are in every reference, and a codec lists them beside the grippers. One that lists all numbers says
    nothing of which are grippers: the robot does.
    """
    own = config.codec if config.simulator_actions is None else config.simulator_actions.codec
    codec, robot = config.codecs.get(config.embodiment.name, own), config.embodiment.action
    if len(codec.grippers) < len(codec.action.mean) or len(codec.action.mean) != robot.dim:
        return codec
    return replace(codec, reference="absolute", grippers=robot.gripper)


def negated(codec: ActionCodec, chunk: Float[Tensor, "n ha da"]) -> Float[Tensor, "n ha da"]:
    """The opposite motion: of what the codec measures, positions and joints change sign and rotations are inverted; grippers stay.

    Args:
        codec: Of the chunk.
        chunk: Normalised.

    Returns:
        Normalised. A number that would come to lie more than 100 deviations from its mean (one that hardly ever changes) stays as it was.
    """
    measured = codec.action.denormalise(chunk)
    opposite = -measured
    for start in codec.poses:
        rotation = slice(start + 3, start + POSE_WIDTH)
        inverse = rearrange(rotation_6d_to_matrix(measured[..., rotation]), "... i j -> ... j i")
        opposite[..., rotation] = matrix_to_rotation_6d(inverse)
    return _told(codec, opposite, chunk)


def zeroed(codec: ActionCodec, chunk: Float[Tensor, "n ha da"]) -> Float[Tensor, "n ha da"]:
    """No motion: of what the codec measures, positions and joints are 0 and rotations none; grippers stay. Otherwise as `negated`."""
    still = torch.zeros_like(chunk)
    for start in codec.poses:
        still[..., start + 3 : start + POSE_WIDTH] = still.new_tensor([1, 0, 0, 0, 1, 0])
    return _told(codec, still, chunk)


def drawn(chunk: Float[Tensor, "n ha da"], seeds: Sequence[int]) -> Float[Tensor, "n ha da"]:
    """Random actions, one a chunk and held throughout so that they lead somewhere: normal, within two deviations of their mean."""
    once = torch.stack([torch.randn(chunk.shape[-1], generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    return rearrange(once.clamp(-LARGEST, LARGEST), "n da -> n 1 da").expand_as(chunk).to(chunk)


def _told(codec: ActionCodec, measured: Tensor, chunk: Tensor) -> Tensor:
    """Normalised, with the grippers of the chunk, and its numbers where a change would be absurd."""
    mean, std = chunk.new_tensor(codec.action.mean), chunk.new_tensor(codec.action.std)
    told = (measured - mean) / std.clamp(min=torch.finfo(std.dtype).tiny)
    told = torch.where(told.abs() <= REJECT_ABOVE, told, chunk)
    told[..., list(codec.grippers)] = chunk[..., list(codec.grippers)]
    return told
