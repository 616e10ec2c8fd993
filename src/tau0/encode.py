"""From what a robot observes to what the networks see, and back: shared by policy, simulator and planner.

Encode stands beside decode. Which number means what stays with `actions`, which pixel means what with `views`.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import Checkpoint, CheckpointConfig
from tau0.contract import Commitment, Observation, Pixels
from tau0.memory import Memory
from tau0.tensors import Conditioning, Prefix
from tau0.views import canvas_to_views, stack_views, tensor_to_pixels, views_to_canvas


class ObservationEncoder:
    """Observations of one episode to `Conditioning`; remembers the frames that it has encoded."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._memory: Memory[Tensor] = Memory(checkpoint.config.sampling.num_memory)
        self._said: tuple[str, Tensor] | None = None

    def reset(self) -> None:
        """Forgets every frame: the next episode must not remember this one."""
        self._memory.reset()

    @torch.inference_mode()
    def encode(self, observation: Observation) -> Conditioning:
        """The observation for one query of policy and simulator. Its frame joins the memory at `observation.step`.

        Raises:
            ContractError: When the observation does not fit the checkpoint's embodiment, or the instruction is too long.
            ActionError: When the state, or what is committed, lies more than 100 deviations from its mean.
            ValueError: When the step lies before an earlier one (a forgotten reset).
        """
        config = self._checkpoint.config
        weight = next(self._checkpoint.model.parameters())
        views = stack_views(observation, config.embodiment).to(weight.device)
        latents = self._checkpoint.autoencoder.encode(rearrange(views, "v c h w -> v c 1 h w"))
        current = views_to_canvas(rearrange(latents, "v z f h w -> 1 v z f h w"))
        self._memory.record(observation.step, current)
        frames = self._memory.frames(observation.step)
        state = torch.from_numpy(observation.state).float()
        return Conditioning(
            current=current,
            memory=torch.cat(frames, dim=2) if frames else current[:, :, :0],
            text=self._text(observation.instruction, weight.device),
            state=config.codec.encode_state(state[None]).to(weight.device),
            prefix=None if observation.committed is None else encode_prefix(config, observation.committed, state, weight.device),
        )

    def _text(self, instruction: str, device: torch.device) -> Float[Tensor, "1 l c"]:
        """Features of the instruction: the same tensor while it stays the same, so that what is made of it can be kept."""
        if self._said is None or self._said[0] != instruction:
            self._said = instruction, self._checkpoint.text.encode([instruction]).to(device)
        return self._said[1]


def encode_prefix(config: CheckpointConfig, committed: Commitment, state: Float[Tensor, " ds"], device: torch.device) -> Prefix:
    """What the robot is committed to as the beginning of a chunk that is measured from `state`, which is in robot units."""
    actions = torch.from_numpy(committed.actions).float()
    return Prefix(actions=config.codec.encode(actions[None], state[None])[0].to(device), num_frozen=committed.num_frozen)


def robot_actions(config: CheckpointConfig, actions: Float[Tensor, "n ha da"], state: Float[Tensor, " ds"]) -> Float[Tensor, "n ha da"]:
    """Normalised chunks in robot units, within the robot's limits, on the CPU. `state` is in robot units."""
    decoded = config.codec.decode(actions.cpu().float(), state.expand(len(actions), -1))
    return torch.from_numpy(config.embodiment.action.clip(decoded.numpy()))


def executable_actions(
    config: CheckpointConfig, actions: Float[Tensor, "n ha da"], state: Float[Tensor, " ds"]
) -> Float[Tensor, "n ha da"]:
    """Normalised chunks as the robot would execute them: limits applied. This is what a simulator must be asked about.

    Where the simulator has actions of its own, they are de-normalised and normalised again, and the numbers that are held follow.
    """
    executed, codec = robot_actions(config, actions, state), config.codec
    if config.simulator_actions is not None:
        codec = config.simulator_actions.codec
        held = executed.new_tensor(config.simulator_actions.held)
        executed = torch.cat([executed, held.expand(*executed.shape[:2], -1)], dim=-1)
    return codec.encode(executed, state.expand(len(actions), -1)).to(actions.device)


@torch.inference_mode()
def latents_to_frames(
    checkpoint: Checkpoint, latents: Float[Tensor, "n z f h vw"], current: Float[Tensor, "1 z 1 h vw"] | None = None
) -> Pixels:
    """Latent frames on the canvas as pictures: uint8 (n, v, t, h, w, 3).

    An autoencoder that shrinks time decodes a sequence from its first frame on. Future frames then need the current one before them, which
    is not part of the result: f latent frames are 4 f pictures. Without it the first of them is taken for a still, and is one picture.
    """
    num_clean = 0
    if current is not None and checkpoint.autoencoder.stride[0] > 1:
        num_clean, latents = 1, torch.cat([current.expand(len(latents), -1, -1, -1, -1), latents], dim=2)
    num_views = len(checkpoint.config.embodiment.cameras)
    views = rearrange(canvas_to_views(latents, num_views), "n v z f h w -> (n v) z f h w")
    pixels = checkpoint.autoencoder.decode(views)[:, :, num_clean:]
    return tensor_to_pixels(rearrange(pixels, "(n v) c f h w -> n v f c h w", v=num_views))
