"""The smallest whole checkpoint: two layers of width 32, random weights, real encoders."""

from __future__ import annotations

from dataclasses import replace

import torch

from tau0.actions import ActionCodec, Normaliser
from tau0.checkpoint import Checkpoint, CheckpointConfig, GateConfig, build
from tau0.contract import ActionSpec, Camera, Embodiment
from tau0.model.autoencoder import AutoencoderConfig
from tau0.model.config import ConditioningConfig, ExpertConfig, SamplingConfig, TrunkConfig, WorldModelConfig
from tau0.model.text import SentenceEncoder
from tau0.tensors import Conditioning

NUM_FUTURE, GROUP, DIM = 2, 4, 4

EMBODIMENT = Embodiment(
    name="tiny",
    cameras=(Camera(name="front", height=32, width=32), Camera(name="wrist", height=32, width=32)),
    state_names=("x", "y", "z", "gripper"),
    action=ActionSpec(names=("dx", "dy", "dz", "close"), low=(-1.0,) * DIM, high=(1.0,) * DIM, gripper=(3,)),
    control_hz=10.0,
    action_horizon=NUM_FUTURE * GROUP + 1,
    frame_stride=GROUP,
)
EXPERT = ExpertConfig(dim=DIM, width=24, ffn_width=48, num_heads=2)
MODEL = WorldModelConfig(
    trunk=TrunkConfig(
        width=32, ffn_width=64, num_heads=2, num_layers=2, latent_channels=6, text_width=384, text_length=16, frequency_width=32
    ),
    action=EXPERT,
    conditioning=ConditioningConfig(action_dim=DIM, width=8 * GROUP, group=GROUP),
    progress=replace(EXPERT, dim=1),
)


def tiny_config(gate_threshold: float | None = 0.0) -> CheckpointConfig:
    """Its config; codec statistics that are not trivial."""
    return CheckpointConfig(
        name="tiny",
        embodiment=EMBODIMENT,
        codec=ActionCodec(
            action=Normaliser(mean=(0.1, -0.1, 0.0, 0.2), std=(0.5, 0.4, 0.6, 0.9)),
            state=Normaliser(mean=(0.0,) * DIM, std=(1.0, 2.0, 1.0, 0.5)),
            reference="absolute",
            grippers=(3,),
        ),
        model=MODEL,
        autoencoder=AutoencoderConfig(latent_channels=6, stride=8, width=8),
        text=SentenceEncoder(MODEL.trunk.text_length).identity,
        sampling=SamplingConfig(action_steps=4, video_steps=4, rank_steps=5, num_future=NUM_FUTURE, execute_steps=8),
        gate=None if gate_threshold is None else GateConfig(threshold=gate_threshold, num_noises=2),
    )


def tiny_checkpoint(seed: int = 0, gate_threshold: float | None = 0.0) -> Checkpoint:
    """Every weight random, heads and gates too, so that everything matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        checkpoint = build(tiny_config(gate_threshold))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for network in (checkpoint.model, checkpoint.autoencoder):
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return checkpoint


def fake_conditioning(seed: int = 0) -> Conditioning:
    """An encoded observation with three memory frames."""
    generator = torch.Generator().manual_seed(seed)
    return Conditioning(
        current=torch.randn(1, 6, 1, 4, 8, generator=generator),
        memory=torch.randn(1, 6, 3, 4, 8, generator=generator),
        text=torch.randn(1, 16, 384, generator=generator),
        state=torch.randn(1, DIM, generator=generator),
    )
