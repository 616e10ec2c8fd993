"""Experts: a sequence of numbers denoised by flow matching, attending to the trunk layer by layer (SPEC.md sections 3 and 4)."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tau0.model.attention import Context, KeysValues, rotary_1d, rotate
from tau0.model.blocks import Block, Head, TimeEmbedding
from tau0.model.config import ConditioningConfig, ExpertConfig, TrunkConfig
from tau0.model.linear import FeedForward, Linear

Levels = tuple[Tensor, Tensor]
"""`e` and `e0` of an expert's sequence: of all tokens alike, or of the state and of all others."""


class Expert(nn.Module):
    """As many blocks as the trunk; block i cross-attends to the raw hidden states of trunk block i.

    Used for actions (a state token goes first, clean) and for progress (no state token).
    """

    def __init__(self, config: ExpertConfig, trunk: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.proj_in = Linear(config.dim, config.width)
        self.time = TimeEmbedding(trunk.frequency_width, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.ffn_width, config.num_heads, trunk.eps, trunk.width) for _ in range(trunk.num_layers)
        )
        self.head = Head(config.width, config.dim, trunk.eps)

    def keys_values(self, hidden: tuple[Float[Tensor, "b s d"], ...]) -> tuple[KeysValues, ...]:
        """Keys and values of every layer, made once for all steps and candidates."""
        return tuple(block.cross_attn.keys_values(h) for block, h in zip(self.blocks, hidden, strict=True))  # pyright: ignore

    def levels(self, timestep: Float[Tensor, " b"], *, has_state: bool) -> Levels:
        """The embeddings of a timestep, and of 0 before it where a state goes first. To be made once for what is asked often."""
        if has_state:
            return self.time(torch.stack([torch.zeros_like(timestep), timestep], dim=1))
        return self.time(repeat(timestep, "b -> b n", n=1))

    def forward(
        self,
        tokens: Float[Tensor, "br n dim"],
        timestep: Float[Tensor, " br"] | Levels,
        contexts: tuple[Context, ...],
        state: Float[Tensor, "br dim"] | None = None,
        context_mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "br n dim"]:
        """Velocity of every token, given the keys and values of every layer, or the hidden states of the trunk to make them from.

        With a state, it is one more token at timestep 0, whose output is dropped. A single timestep is everyone's; so are `levels` of one.
        """
        length = tokens.shape[1]
        levels = self.levels(timestep, has_state=state is not None) if isinstance(timestep, Tensor) else timestep
        if state is not None:
            tokens = torch.cat([rearrange(state, "b d -> b 1 d"), tokens], dim=1)
        e, e0 = (self._spread(t, tokens.shape[1]) for t in levels)
        x = self.proj_in(tokens).float()
        rotation = rotary_1d(tokens.shape[1], self.config.width // self.config.num_heads, x.device)
        for block, context in zip(self.blocks, contexts, strict=True):
            x = block(x, e0, rotation, context, context_mask=context_mask)
        return self.head(x, e)[:, -length:]

    @staticmethod
    def _spread(levels: Tensor, num_tokens: int) -> Tensor:
        """One modulation for all tokens stays one; (state, others) becomes one a token."""
        if levels.shape[1] == 1:
            return levels
        return torch.cat([levels[:, :1], levels[:, 1:].expand(-1, num_tokens - 1, *levels.shape[2:])], dim=1)


class ActionConditioning(nn.Module):
    """Actions steer the trunk through its time embedding (SPEC.md section 4)."""

    def __init__(self, config: ConditioningConfig, trunk_width: int) -> None:
        super().__init__()
        if config.width % config.group:
            raise ValueError(f"conditioning width {config.width} is not divisible by group {config.group}")
        self.config = config
        step_width, width = config.width // config.group, config.width
        self.step = FeedForward(config.action_dim, step_width, step_width)
        self.to_embedding = FeedForward(width, width, trunk_width)
        self.to_modulation = FeedForward(width, width, 6 * trunk_width)

    def forward(self, actions: Float[Tensor, "b ha da"], num_clean: int) -> tuple[Float[Tensor, "b f d"], Float[Tensor, "b f 6 d"]]:
        """What is added to `e` and `e0` of each latent frame; `num_clean` memory and current frames come first.

        The steps are shifted right by one: a zero vector steers the clean frames, action k the frame it leads to, and the last
        action is never seen.
        """
        group = self.config.group
        steps = self.step(actions)
        steps = rotate(steps, rotary_1d(steps.shape[1], steps.shape[2], steps.device))
        clean = steps.new_zeros(len(steps), num_clean, self.config.width)
        future = rearrange(steps[:, :-1], "b (f group) c -> b f (group c)", group=group)
        frames = torch.cat([clean, future], dim=1)
        return self.to_embedding(frames).float(), rearrange(self.to_modulation(frames).float(), "b f (six d) -> b f six d", six=6)
