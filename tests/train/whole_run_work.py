"""What the killed process of a test does: a whole training run, with the processes that it starts."""

from __future__ import annotations

import multiprocessing.context
import os
import time
from pathlib import Path

import torch

from tau0.model.autoencoder import AutoencoderConfig
from tau0.train.config import AutoencoderTraining, TrainConfig
from tau0.train.ingredients import dataset_mixture
from tau0.train.mesh import Launch
from tau0.train.run import Callbacks, Recipe, RunPlan, run
from tiny import EMBODIMENT, MODEL, tiny_config

MAX_STEPS = 12
RECIPE = Recipe(
    name="tiny",
    embodiment=EMBODIMENT,
    model=MODEL,
    autoencoder=AutoencoderConfig(latent_channels=6, stride=8, width=8),
    train=TrainConfig(
        minutes=1e6,
        max_steps=MAX_STEPS,
        workers=2,
        policy_batch=4,
        simulator_batch=4,
        action_draws=1,
        warmup_steps=2,
        learning_rate=3e-3,
        checkpoint_minutes=0.0,
        autoencoder=AutoencoderTraining(minutes=0.005, num_frames=60, batch=4),
    ),
    sampling=tiny_config().sampling,
)


def train(_launch: Launch, out: Path, data: Path, autoencoder: Path, wait_at: float = 1.0) -> None:
    """A run of two training processes that saves after every step, in a process group of its own.

    Args:
        out: Folder of the run.
        data: Folder of the dataset.
        autoencoder: Folder with the autoencoder to use.
        wait_at: Share of the run after which it waits for ever, to be killed; 1 for not at all.
    """
    os.setsid()
    torch.set_num_threads(1)
    started_by = multiprocessing.context._concrete_contexts  # pyright: ignore[reportAttributeAccessIssue]
    started_by["spawn"] = started_by["fork"]  # starting afresh, each process would spend seconds on imports

    def wait(_folder: Path, fraction: float) -> None:
        while wait_at <= fraction < 1:
            time.sleep(1)

    mixture = dataset_mixture(data, EMBODIMENT, RECIPE.sampling.num_future)
    run(RunPlan(recipe=RECIPE, mixture=mixture, out=out, autoencoder_from=autoencoder), Callbacks(on_checkpoint=wait))
