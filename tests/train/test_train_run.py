"""The whole of training at tiny size, through real processes: autoencoder, latents, world model, checkpoint; then some more of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tau0.checkpoint import CheckpointError, load
from tau0.contract import ContractError
from tau0.data.aligned import AlignedSource
from tau0.data.episodes import Dataset
from tau0.model.autoencoder import AutoencoderConfig
from tau0.train.autoencoder import train_autoencoder
from tau0.train.config import AutoencoderTraining, TrainConfig
from tau0.train.frames import draw_frames
from tau0.train.ingredients import align_sources, dataset_mixture
from tau0.train.loop import Progress
from tau0.train.run import Callbacks, Recipe, RunPlan, run
from tau0.train.stage_one import AutoencoderRecipe, ready_autoencoder
from tiny import EMBODIMENT, MODEL, tiny_config

pytestmark = pytest.mark.usefixtures("copied_processes")
AUTOENCODER = AutoencoderTraining(minutes=0.01, num_frames=60, batch=4)
OWN = AutoencoderConfig(latent_channels=6, stride=8, width=8)
RECIPE = Recipe(
    name="tiny",
    embodiment=EMBODIMENT,
    model=MODEL,
    autoencoder=OWN,
    train=TrainConfig(minutes=1e3, max_steps=2, workers=1, policy_batch=4, simulator_batch=4, autoencoder=AUTOENCODER),
    sampling=tiny_config().sampling,
)


def plan(data: Path, out: Path, recipe: Recipe = RECIPE, **more: Any) -> RunPlan:
    return RunPlan(recipe=recipe, mixture=dataset_mixture(data, EMBODIMENT, RECIPE.sampling.num_future), out=out, **more)


@pytest.fixture(scope="module")
def sources(dataset: Dataset) -> tuple[AlignedSource, ...]:
    return align_sources(dataset_mixture(dataset.root, EMBODIMENT, 2))


def test_run_from_data_to_checkpoint_and_on(data: Path, tmp_path: Path):
    out, steps, stages, seen = tmp_path / "out", [], [], []

    def on_step(progress: Progress) -> None:
        steps.append(progress.step)

    def on_stage(stage: str, _fraction: float, _text: str) -> None:
        stages.append(stage)

    watch = Callbacks(on_stage=on_stage, on_step=on_step, on_checkpoint=lambda folder, fraction: seen.append((load(folder), fraction)))
    folder = run(plan(data, out, provenance={"data": "made up"}), watch)
    assert steps == [1, 2]
    assert set(stages) == {"rows", "autoencoder", "latents"}
    assert [fraction for _, fraction in seen] == [1.0]
    first = load(folder)
    assert first.config.provenance["data"] == "made up"
    assert first.config.provenance["steps"] == "2"
    stages.clear()
    run(plan(data, out, recipe=replace(RECIPE, train=replace(RECIPE.train, max_steps=3))), watch)
    second = load(folder)
    assert steps == [1, 2, 3]
    assert stages == []
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    weights = [c.model.state_dict()["trunk.patch_embedding.weight"] for c in (first, second)]
    assert not torch.equal(*weights)


def test_dataset_of_another_robot_is_refused_before_anything_is_trained(data: Path, tmp_path: Path):
    del tmp_path
    with pytest.raises(ContractError, match="control_hz is 10, expected 30"):
        dataset_mixture(data, replace(EMBODIMENT, control_hz=30.0), 2)


STAGE_ONE = AutoencoderRecipe(config=OWN, training=AUTOENCODER, cameras=EMBODIMENT.cameras, seed=0)


def test_an_autoencoder_is_trained_once_and_kept(sources: tuple[AlignedSource, ...], tmp_path: Path):
    folder = tmp_path / "run" / "autoencoder"
    first = ready_autoencoder(STAGE_ONE, sources, folder, 1)
    again = ready_autoencoder(STAGE_ONE, sources, folder, 1, on_step=lambda *_: pytest.fail("trained twice"))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    longer = replace(STAGE_ONE, training=replace(AUTOENCODER, minutes=9.0), seed=4)
    with pytest.raises(CheckpointError, match=r"minutes .* instead of 9.0, seed 0 instead of 4"):
        ready_autoencoder(longer, sources, folder, 1)


def test_an_autoencoder_can_be_taken_from_another_run(sources: tuple[AlignedSource, ...], tmp_path: Path):
    other, folder = tmp_path / "other", tmp_path / "run"
    wanted = ready_autoencoder(STAGE_ONE, sources, other, 1)
    for _ in range(2):
        taken = ready_autoencoder(STAGE_ONE, sources, folder, 1, other, lambda *_: pytest.fail("trained one"))
        assert all(torch.equal(a, b) for a, b in zip(wanted.state_dict().values(), taken.state_dict().values(), strict=True))
    ready_autoencoder(STAGE_ONE, sources, other, 1, other, lambda *_: pytest.fail("trained one"))
    with pytest.raises(CheckpointError, match="was taken from elsewhere: say --autoencoder as before"):
        ready_autoencoder(STAGE_ONE, sources, folder, 1)
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        ready_autoencoder(STAGE_ONE, sources, tmp_path / "third", 1, tmp_path)
    wide = replace(STAGE_ONE, config=replace(OWN, width=16))
    with pytest.raises(CheckpointError, match="expected"):
        ready_autoencoder(wide, sources, tmp_path / "third", 1, other)
    assert not (tmp_path / "third").exists()


def test_autoencoder_improves_on_nothing_and_reports_every_camera(dataset: Dataset, sources: tuple[AlignedSource, ...]):
    model, report = train_autoencoder(OWN, AUTOENCODER, sources, EMBODIMENT.cameras, seed=0)
    assert report.steps > 0
    assert set(report.psnr_db) == set(report.weighted_psnr_db) == {"front", "wrist"}
    assert min(report.psnr_db.values()) > 15
    frames = torch.from_numpy(dataset.frames(dataset.episodes[0], "front")).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        latents = model.encode(frames)
    assert latents.shape == (1, 6, 22, 4, 4)
    assert float(latents.mean().abs()) < 1.5


def test_frames_are_drawn_from_all_episodes(sources: tuple[AlignedSource, ...]):
    drawn = draw_frames([(source, source.episodes) for source in sources], EMBODIMENT.cameras, 40, np.random.default_rng(0))
    assert [frames.shape[1:] for frames in drawn] == [(32, 32, 3)] * 2
    assert len(drawn[0]) == len(drawn[1])
    assert 20 < len(drawn[0]) < 60
