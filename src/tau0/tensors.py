"""What crosses a room inside the model's process. Torch and jaxtyping only.

Letters follow SPEC.md section 0. Everything here is normalised: pixels in [-1, 1], latents and actions at unit variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Windows of recordings, stacked, each with masks that say what it may supervise (SPEC.md section 7).

    What a mask leaves out may hold anything: nothing that is computed from a batch depends on it. Numbers that a robot does not have
    are masked in all their steps.

    Attributes:
        latents: `[memory, current, future]` latent frames of every view.
        text: Token features of the instruction, zero where there is no token.
        state: Proprioception at the current frame.
        target_actions: What the policy should have done (the expert's label).
        executed_actions: What was done, the simulator's input; it may be told more numbers than the policy gives.
        progress: Labels in [-1, 1], one per action step.
        view_mask: Which cameras exist: one at least. Their memory and current frames exist, too.
        video_mask: Which future frames may be supervised, in all views that exist.
        state_mask: Which numbers of the state this robot measures.
        action_mask: Which steps and dimensions of `target_actions` the policy may learn. A number that it may never learn is absent.
        executed_mask: Which numbers of `executed_actions` exist. Without any the sample does not train the simulator.
        progress_mask: Which steps of `progress` are labelled.
        weights: How much its video, action, dynamics and progress count, in this order.
    """

    latents: Float[Tensor, "b v z m1f h w"]
    text: Float[Tensor, "b l c"]
    state: Float[Tensor, "b ds"]
    target_actions: Float[Tensor, "b ha da"]
    executed_actions: Float[Tensor, "b ha de"]
    progress: Float[Tensor, "b ha"]
    view_mask: Bool[Tensor, "b v"]
    video_mask: Bool[Tensor, "b future"]
    state_mask: Bool[Tensor, "b ds"]
    action_mask: Bool[Tensor, "b ha da"]
    executed_mask: Bool[Tensor, "b de"]
    progress_mask: Bool[Tensor, "b ha"]
    weights: Float[Tensor, "b 4"]

    def __len__(self) -> int:
        return len(self.state)

    def __getitem__(self, index: slice | Tensor) -> Batch:
        """The samples at `index`, as a batch."""
        return Batch(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(**{name: getattr(self, name).to(device) for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """One trunk pass: the velocity of every latent frame, and what each expert block attends to.

    Attributes:
        velocity: Of every latent frame on the canvas, the clean ones too.
        hidden: Output of each trunk block, one tensor per layer.
    """

    velocity: Float[Tensor, "b z f h vw"]
    hidden: tuple[Float[Tensor, "b s d"], ...]


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """How every candidate of a query begins: what the robot does while it waits for the answer.

    Attributes:
        actions: Normalised, from the observation's step on.
        num_frozen: How many of them cannot be changed any more. The others are only wanted, the later the less.
    """

    actions: Float[Tensor, "known da"]
    num_frozen: int


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """An observation, encoded once for everything that follows in one query. Batch is one.

    Attributes:
        current: Clean latent of the current frame on the canvas.
        memory: Clean latents of the past on the canvas.
        text: Token features of the instruction.
        state: Normalised proprioception.
        prefix: How every chunk begins; None where the robot waits.
    """

    current: Float[Tensor, "1 z 1 h vw"]
    memory: Float[Tensor, "1 z m h vw"]
    text: Float[Tensor, "1 l c"]
    state: Float[Tensor, "1 ds"]
    prefix: Prefix | None = None


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """Candidate chunks in normalised units, and the trunk pass they came from (to score them again).

    Attributes:
        actions: One chunk per candidate.
        keys_values: Per expert layer, keys and values made once from the trunk's hidden states.
        state: Normalised proprioception.
        video: Denoised future latents, in the joint mode only.
    """

    actions: Float[Tensor, "n ha da"]
    keys_values: tuple[tuple[Tensor, Tensor], ...]
    state: Float[Tensor, "1 ds"]
    video: Float[Tensor, "1 z f h vw"] | None = None


@dataclass(frozen=True, kw_only=True)
class Futures:
    """What the simulator imagines for each candidate.

    Attributes:
        latents: Denoised future frames on the canvas.
        progress: In [-1, 1], one per action step.
        partial: Future frames before the last denoising step, at noise level `partial_sigma`.
        partial_sigma: The level of `partial`.
    """

    latents: Float[Tensor, "n z f h vw"]
    progress: Float[Tensor, "n ha"]
    partial: Float[Tensor, "n z f h vw"]
    partial_sigma: float
