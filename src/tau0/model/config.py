"""Shapes of the world model. Each config is complete; presets put them together."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """The video diffusion transformer (SPEC.md section 2)."""

    width: int
    ffn_width: int
    num_heads: int
    num_layers: int
    latent_channels: int
    text_width: int
    text_length: int
    patch: tuple[int, int, int] = (1, 2, 2)
    frequency_width: int = 256
    eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """A stack that attends to the trunk layer by layer (SPEC.md sections 3 and 4). `dim` is 1 for progress."""

    dim: int
    width: int
    ffn_width: int
    num_heads: int


@dataclass(frozen=True, kw_only=True)
class ConditioningConfig:
    """How actions steer the trunk: `group` steps for each future latent frame, `width` numbers together (SPEC.md section 4)."""

    action_dim: int
    width: int
    group: int


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """Trunk, and whichever experts a checkpoint has: both (one model), or those of the published policy or simulator."""

    trunk: TrunkConfig
    action: ExpertConfig | None = None
    conditioning: ConditioningConfig | None = None
    progress: ExpertConfig | None = None

    @property
    def policy(self) -> WorldModelConfig:
        """Trunk and action expert alone: the published policy's parts."""
        return replace(self, conditioning=None, progress=None)

    @property
    def simulator(self) -> WorldModelConfig:
        """Trunk, action conditioning and progress expert alone: the published simulator's parts."""
        return replace(self, action=None)
