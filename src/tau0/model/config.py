"""Shapes of the world model. Each config is complete; presets put them together. Sizes that cannot be are a `ValueError`."""

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

    def __post_init__(self) -> None:
        _check_sizes(
            self, "width", "ffn_width", "num_heads", "num_layers", "latent_channels", "text_width", "text_length", "frequency_width"
        )
        _check_heads(self.width, self.num_heads)
        if len(self.patch) != 3 or not all(isinstance(size, int) and size >= 1 for size in self.patch):
            raise ValueError(f"patch is {self.patch}, expected three numbers of at least 1: frames, rows, columns")


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """A stack that attends to the trunk layer by layer (SPEC.md sections 3 and 4). `dim` is 1 for progress."""

    dim: int
    width: int
    ffn_width: int
    num_heads: int

    def __post_init__(self) -> None:
        _check_sizes(self, "dim", "width", "ffn_width", "num_heads")
        _check_heads(self.width, self.num_heads)


@dataclass(frozen=True, kw_only=True)
class ConditioningConfig:
    """How actions steer the trunk: `group` steps for each future latent frame, `width` numbers together (SPEC.md section 4)."""

    action_dim: int
    width: int
    group: int

    def __post_init__(self) -> None:
        _check_sizes(self, "action_dim", "width", "group")


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


def _check_sizes(config: object, *names: str) -> None:
    for name in names:
        size = getattr(config, name)
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} is {size!r}, expected a whole number of at least 1")


def _check_heads(width: int, num_heads: int) -> None:
    if width % (2 * num_heads):
        raise ValueError(f"width {width} cannot be shared out among num_heads {num_heads}: each needs an even number of channels")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the policy and the simulator are sampled.

    Attributes:
        action_steps: UniPC steps of the action expert, shift 1.
        video_steps: UniPC steps of the joint mode, shift `video_shift`.
        rank_steps: Euler steps at shift 1 with which the simulator ranks candidates.
        video_shift: Shift of the video levels in training and in the joint mode.
        num_memory: Memory frames of the simulator.
        num_future: Future latent frames.
        execute_steps: Steps of a chunk executed before the next query.
    """

    action_steps: int = 5
    video_steps: int = 10
    rank_steps: int = 5
    video_shift: float = 5.0
    num_memory: int = 3
    num_future: int = 2
    execute_steps: int = 8

    @property
    def revision_sigma(self) -> float:
        """Level of the partially denoised future that a revision is conditioned on: before the last of the ranking steps."""
        return 1.0 / self.rank_steps
