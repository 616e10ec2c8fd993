"""One world model: trunk, action expert, action conditioning, progress expert, each present or not."""

from __future__ import annotations

from typing import TypeVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tau0.model.attention import Context, KeysValues
from tau0.model.blocks import initialise
from tau0.model.config import WorldModelConfig
from tau0.model.experts import ActionConditioning, Expert, Levels
from tau0.model.trunk import Trunk, Words
from tau0.tensors import VideoFeatures

Part = TypeVar("Part", bound=nn.Module)


class MissingPartError(ValueError):
    """The checkpoint at hand has no such part: a published policy cannot simulate, a published simulator cannot act."""


class WorldModel(nn.Module):
    """Policy and simulator on one trunk. With no actions given the conditioning is skipped, which is not the same as zeroed actions."""

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        self.action_expert = None if config.action is None else Expert(config.action, config.trunk)
        self.conditioning = None if config.conditioning is None else ActionConditioning(config.conditioning, config.trunk.width)
        self.progress_expert = None if config.progress is None else Expert(config.progress, config.trunk)
        initialise(self)

    def video_features(
        self,
        latents: Float[Tensor, "b z f h vw"],
        timestep: Float[Tensor, "b f"],
        text: Words,
        column_mask: Bool[Tensor, "b vw"] | None = None,
    ) -> VideoFeatures:
        """One trunk pass of the policy: no actions steer it."""
        return self.trunk(latents, timestep, text, None, column_mask)

    def text_context(self, text: Float[Tensor, "b l c"]) -> tuple[KeysValues, ...]:
        """What the trunk makes of a text, in place of the text: to be made once for all passes that read the same words."""
        return self.trunk.text_keys_values(text)

    def action_levels(self, timestep: Float[Tensor, " b"]) -> Levels:
        """What the action expert makes of a timestep, in its place: to be made once for a timestep that is asked often."""
        return self._part(self.action_expert, "action expert").levels(timestep, has_state=True)

    def action_context(self, features: VideoFeatures) -> tuple[KeysValues, ...]:
        """Keys and values for the action expert, to be made once per trunk pass."""
        return self._part(self.action_expert, "action expert").keys_values(features.hidden)

    def denoise_actions(
        self,
        context: tuple[Context, ...],
        noisy_actions: Float[Tensor, "br ha da"],
        timestep: Float[Tensor, " br"] | Levels,
        state: Float[Tensor, "br ds"],
        token_mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "br ha da"]:
        """Velocity of the actions, given `action_context`, or the hidden states themselves where they are used once.

        With `r` times as many chunks as contexts, r consecutive chunks share one.
        """
        return self._part(self.action_expert, "action expert")(noisy_actions, timestep, context, state, token_mask)

    def denoise_future(
        self,
        latents: Float[Tensor, "b z f h vw"],
        video_timestep: Float[Tensor, "b f"],
        text: Words,
        actions: Float[Tensor, "b ha da"],
        noisy_progress: Float[Tensor, "b ha"],
        progress_timestep: Float[Tensor, " b"],
        column_mask: Bool[Tensor, "b vw"] | None = None,
        *,
        progress_shapes_trunk: bool = False,
    ) -> tuple[VideoFeatures, Float[Tensor, "b ha"]]:
        """Velocities of the future frames under `actions`, and of the progress curve.

        Gradients of the progress end at the trunk's hidden states, as published, unless `progress_shapes_trunk` (docs/adr/0005).

        Raises:
            MissingPartError: When the checkpoint has no conditioning or no progress expert.
            ValueError: When the number of actions does not fit the number of future frames.
        """
        conditioning = self._part(self.conditioning, "action conditioning")
        num_future, left_over = divmod(actions.shape[1] - 1, conditioning.config.group)
        num_clean = latents.shape[2] - num_future
        if left_over or num_clean < 1:
            raise ValueError(
                f"{actions.shape[1]} actions in groups of {conditioning.config.group} do not fit {latents.shape[2]} latent frames"
            )
        features = self.trunk(latents, video_timestep, text, conditioning(actions, num_clean), column_mask)
        progress_expert = self._part(self.progress_expert, "progress expert")
        hidden = features.hidden if progress_shapes_trunk else tuple(h.detach() for h in features.hidden)
        mask = None if column_mask is None else self.trunk.token_mask(column_mask, self.grid(latents))
        progress = progress_expert(noisy_progress.unsqueeze(-1), progress_timestep, hidden, context_mask=mask)
        return features, progress.squeeze(-1)

    def grid(self, latents: Float[Tensor, "b z f h vw"]) -> tuple[int, int, int]:
        """Tokens per axis: frames, rows, columns."""
        sizes = [n // p for n, p in zip(latents.shape[2:], self.config.trunk.patch, strict=True)]
        return sizes[0], sizes[1], sizes[2]

    @staticmethod
    def _part(part: Part | None, name: str) -> Part:
        if part is None:
            raise MissingPartError(f"this checkpoint has no {name}")
        return part
