"""Complete configurations by name. A preset is a function; the dict at the end lists them all."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field

from tau0.model.autoencoder import AutoencoderConfig
from tau0.model.config import ConditioningConfig, ExpertConfig, TrunkConfig, WorldModelConfig
from tau0.train.config import AutoencoderTraining, LossWeights, TrainConfig

TEXT_WIDTH, TEXT_LENGTH = 384, 24


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A size of model, and how to train it.

    Attributes:
        model: Policy and simulator on one trunk; `model.policy` and `model.simulator` are the published two.
        autoencoder: Of our own, trained before the model; None where the published encoders are used.
        train: How; without an autoencoder of its own from a checkpoint on many processes alone.
    """

    model: WorldModelConfig
    autoencoder: AutoencoderConfig | None = None
    train: TrainConfig = field(default_factory=TrainConfig)


def _model(*, width: int, layers: int, heads: int, expert: int, progress: int, conditioning: int, latent_channels: int) -> WorldModelConfig:
    trunk = TrunkConfig(
        width=width,
        ffn_width=3 * width,
        num_heads=heads,
        num_layers=layers,
        latent_channels=latent_channels,
        text_width=TEXT_WIDTH,
        text_length=TEXT_LENGTH,
        frequency_width=64,
    )
    return WorldModelConfig(
        trunk=trunk,
        action=ExpertConfig(dim=4, width=expert, ffn_width=2 * expert, num_heads=heads),
        conditioning=ConditioningConfig(action_dim=4, width=conditioning, group=8),
        progress=ExpertConfig(dim=1, width=progress, ffn_width=2 * progress, num_heads=heads),
    )


def tiny() -> Preset:
    """Trains, saves, resumes and plans within seconds: for tests."""
    return Preset(
        model=_model(width=32, layers=2, heads=2, expert=24, progress=16, conditioning=32, latent_channels=8),
        autoencoder=AutoencoderConfig(latent_channels=8, width=16),
        train=TrainConfig(
            minutes=5.0,
            max_steps=8,
            workers=1,
            policy_batch=8,
            simulator_batch=4,
            autoencoder=AutoencoderTraining(minutes=0.03, num_frames=200, batch=8),
        ),
    )


def nano() -> Preset:
    """The demo's size, trained on two CPU cores within an hour."""
    return Preset(
        model=_model(width=128, layers=4, heads=4, expert=96, progress=64, conditioning=128, latent_channels=24),
        autoencoder=AutoencoderConfig(latent_channels=24, width=64),
        train=TrainConfig(),
    )


def wan5b() -> Preset:
    """The published shape (SPEC.md sections 2 to 4), to be filled with published weights by `tau0 convert`.

    The policy acts with 20 numbers, two arms. The simulator is told 26: those, then head 2, waist 2 and base velocity 2. On one trunk both
    stay as they are, and what the policy does not command is held (`SimulatorActions`).

    Training goes on from converted weights, on 64 GPUs with four samples of each stream at a time (docs/scale.md), with the published
    levels and loss weights. Learning rate and batch are a guess: nothing of this size was trained here.
    """
    trunk = TrunkConfig(
        width=3072, ffn_width=14336, num_heads=24, num_layers=30, latent_channels=48, text_width=4096, text_length=512
    )  # fmt: skip
    model = WorldModelConfig(
        trunk=trunk,
        action=ExpertConfig(dim=20, width=1024, ffn_width=2048, num_heads=16),
        conditioning=ConditioningConfig(action_dim=26, width=1536, group=16),
        progress=ExpertConfig(dim=1, width=1536, ffn_width=2048, num_heads=16),
    )
    return Preset(
        model=model,
        train=TrainConfig(
            minutes=2 * 24 * 60.0,
            policy_batch=256,
            simulator_batch=256,
            action_draws=4,
            action_shift=1.0,
            progress_shift=1.0,
            pure_noise_share=0.0,
            revision_share=0.0,
            progress_shapes_trunk=False,
            learning_rate=2e-5,
            muon_rate=0.0,
            warmup_steps=1000,
            ema_decay=0.9995,
            checkpoint_minutes=30.0,
            loss=LossWeights(policy_video=1.0, action=1.0, simulator_video=1.0, progress=1.0),
        ),
    )


PRESETS: dict[str, Callable[[], Preset]] = {"tiny": tiny, "nano": nano, "wan5b": wan5b}


def preset(name: str) -> Preset:
    """The preset called `name`. Raises `ValueError` naming the choices."""
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        raise ValueError(f"unknown preset {name!r}{f', did you mean {close[0]!r}?' if close else ''} (there are {', '.join(PRESETS)})")
    return PRESETS[name]()
