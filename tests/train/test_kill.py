"""A whole run is killed at random moments, all its processes at once; the same command goes on, and nothing is lost."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
import whole_run_work
from processes import Processes
from safetensors.torch import load_file
from whole_run_work import MAX_STEPS, RECIPE

from tau0.checkpoint import CheckpointError, load
from tau0.model.autoencoder import AutoencoderConfig
from tau0.train.ingredients import align_sources, dataset_mixture
from tau0.train.stage_one import AutoencoderRecipe, ready_autoencoder
from tau0.train.state import STATE_FOLDER, read_position, saved_step
from tiny import EMBODIMENT

LAST_KILLED = MAX_STEPS - 2


def autoencoder(data: Path, folder: Path) -> Path:
    """A folder with one, trained for a moment."""
    assert isinstance(RECIPE.autoencoder, AutoencoderConfig)
    recipe = AutoencoderRecipe(config=RECIPE.autoencoder, training=RECIPE.train.autoencoder, cameras=EMBODIMENT.cameras, seed=0)
    ready_autoencoder(recipe, align_sources(dataset_mixture(data, EMBODIMENT, 2)), folder, 1)
    return folder


def saved(folder: Path) -> int:
    """The step of the last state; 0 while there is none, also between the two renames of a save."""
    try:
        return read_position(folder / STATE_FOLDER / "position.json").step
    except CheckpointError:
        return 0


def kill_at_random(processes: Processes, out: Path) -> str:
    """Kills everything some milliseconds after some step; says when that was."""
    step, wait_s = random.randint(min(saved(out), LAST_KILLED - 1), LAST_KILLED - 1), random.uniform(0, 0.1)
    try:
        while saved(out) <= step and processes.are_running:
            time.sleep(0.001)
        time.sleep(wait_s)
    finally:
        processes.kill()
    return f"{1000 * wait_s:.0f} ms after step {step}"


def test_killed_run_goes_on_and_ends_equal_bit_for_bit(data: Path, tmp_path: Path):
    arguments = (data, autoencoder(data, tmp_path / "autoencoder"))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    Processes(1, whole_run_work.train, whole, *arguments).finish()
    moments = []
    for _ in range(2):
        moments.append(kill_at_random(Processes(1, whole_run_work.train, killed, *arguments, LAST_KILLED / MAX_STEPS), killed))
        assert 0 < saved_step(killed) < MAX_STEPS, moments
    Processes(1, whole_run_work.train, killed, *arguments).finish()
    steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, MAX_STEPS + 1)], moments
    for name in ("weights", "average", "optimiser"):
        one, other = (load_file(folder / STATE_FOLDER / f"{name}.safetensors") for folder in (whole, killed))
        assert [key for key in one.keys() | other.keys() if not torch.equal(one[key], other[key])] == [], moments
    assert load(whole / "checkpoint").model.state_dict().keys() == load(killed / "checkpoint").model.state_dict().keys()
    model = [(folder / "checkpoint" / "model.safetensors").read_bytes() for folder in (whole, killed)]
    assert model[0] == model[1], moments
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in whole.iterdir())
