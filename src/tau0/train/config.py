"""How a model is trained: numbers only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining:
    """Stage one.

    Attributes:
        minutes: Wall time; the learning rate is annealed over it.
        num_frames: Frames per camera that are drawn from the dataset.
        batch: Pictures a step.
        learning_rate: Peak.
        latent_noise: Deviation of the noise added to normalised latents while decoding, so that near latents mean near pictures.
        rarity: Exponent of colour rarity: 0 weighs all pixels alike, 0.5 a colour seen a hundred times less ten times more.
    """

    minutes: float = 6.0
    num_frames: int = 5000
    batch: int = 32
    learning_rate: float = 1e-3
    latent_noise: float = 0.1
    rarity: float = 0.5


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the four terms of the joint objective."""

    policy_video: float = 0.25
    action: float = 1.0
    simulator_video: float = 1.0
    progress: float = 2.0


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Stage two: the world model on cached latents.

    Attributes:
        minutes: Wall time of training proper; the learning rate is annealed over it. Interrupted time does not count.
        max_steps: Upper bound on steps, for tests and exact comparisons; None leaves it to `minutes`.
        workers: Processes that share each batch, one thread each. They beat threads at these sizes.
        policy_batch: Policy samples a step, over all workers.
        simulator_batch: Simulator samples a step, over all workers.
        action_draws: Noise draws of the actions for each trunk pass.
        action_shift: Shift of the action levels: above 1 more draws are nearly noise, where only the pictures say what to do.
        progress_shift: Shift of the progress levels, for the same reason.
        pure_noise_share: Share of policy samples whose future frames are pure noise, as they are when the policy acts.
        revision_share: Share of policy samples whose future frames are at the level of a revision's.
        progress_shapes_trunk: Whether the progress loss trains the trunk as well; published models only read it.
        caption_dropout: Share of samples whose instruction is dropped.
        shared_trunk: One trunk for both interfaces, or a model of its own for each.
        learning_rate: Peak of AdamW's.
        muon_rate: Peak of Muon's, which trains the matrices inside blocks, in AdamW's measure; 0 leaves them to AdamW, as sharded runs do.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Of matrices.
        gradient_clip: Largest norm.
        on_non_finite: Whether a step whose loss or gradient is not a number stops the run or is left out. Either way the batch is named.
        ema_decay: Of the weights that are evaluated and shipped.
        checkpoint_minutes: Between two resumable checkpoints.
        evaluate_minutes: Between two closed-loop evaluations, 0 for none before the end.
        evaluate_episodes: Episodes a task of a periodic evaluation.
        seed: Of initialisation, order and noise.
    """

    minutes: float = 35.0
    max_steps: int | None = None
    workers: int = 2
    policy_batch: int = 80
    simulator_batch: int = 40
    action_draws: int = 2
    action_shift: float = 5.0
    progress_shift: float = 5.0
    pure_noise_share: float = 0.75
    revision_share: float = 0.1
    progress_shapes_trunk: bool = True
    caption_dropout: float = 0.06
    shared_trunk: bool = True
    learning_rate: float = 2e-3
    muon_rate: float = 2e-2
    warmup_steps: int = 100
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    on_non_finite: Literal["stop", "skip"] = "stop"
    ema_decay: float = 0.998
    checkpoint_minutes: float = 3.0
    evaluate_minutes: float = 0.0
    evaluate_episodes: int = 4
    seed: int = 0
    loss: LossWeights = field(default_factory=LossWeights)
    autoencoder: AutoencoderTraining = field(default_factory=AutoencoderTraining)

    def __post_init__(self) -> None:
        if not 0 <= self.pure_noise_share <= self.pure_noise_share + self.revision_share <= 1:
            raise ValueError(
                "pure_noise_share and revision_share must be at least 0 and together at most 1, "
                f"got {self.pure_noise_share} and {self.revision_share}"
            )
