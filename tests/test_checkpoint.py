from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tau0.actions import Normaliser
from tau0.checkpoint import (
    AUTOENCODER_NAME,
    CONFIG_NAME,
    MODEL_NAME,
    SIMULATOR_NAME,
    Checkpoint,
    CheckpointError,
    GateConfig,
    build,
    config_from_json,
    config_to_json,
    fingerprint,
    load,
    save,
    save_config,
)
from tau0.limits import SafetyLimits
from tau0.model.autoencoder import AutoencoderConfig
from tau0.model.config import ConditioningConfig
from tau0.model.world_model import MissingPartError
from tiny import EMBODIMENT, MODEL, tiny_config


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A saved checkpoint."""
    save(checkpoint, tmp_path / "saved")
    return tmp_path / "saved"


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / CONFIG_NAME).read_text())
    change(config)
    (folder / CONFIG_NAME).write_text(json.dumps(config))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_comes_back(checkpoint: Checkpoint, folder: Path):
    loaded = load(folder)
    assert loaded.config == checkpoint.config
    assert loaded.fingerprint == fingerprint(folder)
    assert loaded.simulator is loaded.model
    for mine, theirs in ((checkpoint.model, loaded.model), (checkpoint.autoencoder, loaded.autoencoder)):
        for name, tensor in mine.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[name]), name
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG_NAME, MODEL_NAME, AUTOENCODER_NAME])


def test_two_models_come_back_as_two(tmp_path: Path):
    config = replace(tiny_config(), model=replace(MODEL, conditioning=None, progress=None), simulator=replace(MODEL, action=None))
    save(build(config), tmp_path / "two")
    assert (tmp_path / "two" / SIMULATOR_NAME).is_file()
    loaded = load(tmp_path / "two")
    assert loaded.simulator is not loaded.model
    with pytest.raises(MissingPartError, match="no action expert"):
        loaded.simulator.action_context(loaded.model.video_features(torch.zeros(1, 6, 3, 4, 8), torch.zeros(1, 3), torch.zeros(1, 4, 384)))


def test_config_there_and_back():
    config = tiny_config()
    assert config_from_json(config_to_json(config)) == config


@pytest.mark.parametrize("name", [MODEL_NAME, AUTOENCODER_NAME])
def test_missing_foreign_and_misshaped_tensors_are_named(folder: Path, name: str):
    tensors = load_file(folder / name)
    names = sorted(tensors)
    del tensors[names[0]]
    tensors["stranger.weight"] = torch.zeros(2)
    tensors[names[1]] = torch.zeros(1, 2, 3, 4, 5, 6)
    save_file(tensors, folder / name)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert f"missing {names[0]}" in str(error.value)
    assert "foreign stranger.weight" in str(error.value)
    assert f"{names[1]} is (1, 2, 3, 4, 5, 6), expected" in str(error.value)
    assert str(folder / name) in str(error.value)


def test_renamed_tensor_gets_a_hint(folder: Path):
    tensors = load_file(folder / MODEL_NAME)
    tensors["trunk.patch_embeding.weight"] = tensors.pop("trunk.patch_embedding.weight")
    save_file(tensors, folder / MODEL_NAME)
    with pytest.raises(CheckpointError, match=r"missing trunk\.patch_embedding\.weight \(did you mean trunk\.patch_embeding\.weight\?\)"):
        load(folder)


@pytest.mark.parametrize("name", [CONFIG_NAME, MODEL_NAME, AUTOENCODER_NAME])
def test_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load(folder)


def test_truncated_file_is_named(folder: Path):
    whole = (folder / MODEL_NAME).read_bytes()
    (folder / MODEL_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"{MODEL_NAME} cannot be read"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(novelty=1), r"unknown fields \['novelty'\]"),
        (lambda c: c["sampling"].update(rank_stepz=3), r"unknown fields \['sampling.rank_stepz'\]"),
        (lambda c: c["embodiment"]["cameras"][1].update(fov=45), r"unknown fields \['embodiment.cameras.1.fov'\]"),
        (lambda c: c["sampling"].update(rank_steps="many"), r"sampling.rank_steps: .*'many'"),
        (lambda c: c["model"]["trunk"].pop("width"), r"model.trunk.width: Field required"),
        (lambda c: c.update(format_version=2), r"format_version: .*2"),
        (lambda c: c["embodiment"]["action"].update(low=[0.0]), r"embodiment.action: .*one length"),
        (lambda c: c["codec"]["action"].update(mean=[0.0]), r"codec.action: .*1 means but 4"),
        (lambda c: c.update(text="some other encoder"), r"trained with 'some other encoder'"),
    ],
)
def test_config_that_does_not_fit_names_the_field(folder: Path, change: Callable[[dict[str, Any]], None], message: str):
    edit_config(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_config_of_another_shape_than_the_weights_is_refused(folder: Path):
    edit_config(folder, lambda config: config["model"]["trunk"].update(ffn_width=48))
    with pytest.raises(CheckpointError, match=r"ffn.* is \(.*64.*\), expected \(.*48.*\)"):
        load(folder)


class Bomb:
    """Harmful to unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize("name", [MODEL_NAME, AUTOENCODER_NAME, CONFIG_NAME])
def test_pickles_are_never_read(folder: Path, name: str):
    for other in ("model.bin", "model.pt", "pytorch_model.bin"):
        (folder / other).write_bytes(pickle.dumps(Bomb()))
    load(folder)
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        load(folder)


def test_save_replaces_the_whole_folder(folder: Path, checkpoint: Checkpoint):
    (folder / "leftover").write_text("of something else")
    save(checkpoint, folder)
    assert not (folder / "leftover").exists()
    load(folder)


def test_save_config_touches_nothing_else(folder: Path, checkpoint: Checkpoint):
    (folder / "README.md").write_text("a card")
    before = contents(folder)
    gate = GateConfig(threshold=-0.5, num_noises=4, chosen_by="a test")
    save_config(replace(checkpoint.config, gate=gate), folder)
    assert load(folder).config.gate == gate
    assert {name: data for name, data in contents(folder).items() if name != CONFIG_NAME} == {
        name: data for name, data in before.items() if name != CONFIG_NAME
    }


def test_fingerprint_follows_config_and_weights(folder: Path, checkpoint: Checkpoint):
    first = fingerprint(folder)
    assert load(folder).fingerprint == first
    save_config(replace(checkpoint.config, name="other", provenance={"date": "another"}), folder)
    assert fingerprint(folder) == first
    save_config(replace(checkpoint.config, gate=GateConfig(threshold=-0.5)), folder)
    second = fingerprint(folder)
    tensors = load_file(folder / MODEL_NAME)
    tensors["trunk.patch_embedding.weight"] += 1
    save_file(tensors, folder / MODEL_NAME)
    assert len({first, second, fingerprint(folder)}) == 3


def test_a_gate_of_which_nobody_wrote_down_the_candidates_keeps_its_fingerprint(folder: Path, checkpoint: Checkpoint):
    first = fingerprint(folder)
    edit_config(folder, lambda config: config["gate"].pop("num_candidates"))
    assert load(folder).config.gate == checkpoint.config.gate
    assert fingerprint(folder) == first
    edit_config(folder, lambda config: config["gate"].update(num_candidates=8))
    assert fingerprint(folder) != first


def test_conditioning_of_another_action_dimension_is_refused(folder: Path):
    assert MODEL.conditioning == ConditioningConfig(action_dim=4, width=32, group=4)
    edit_config(folder, lambda config: config["model"]["conditioning"].update(action_dim=26))
    with pytest.raises(CheckpointError, match=r"conditioning\.action_dim is for 26, actions and held numbers for 4"):
        load(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampling": replace(tiny_config().sampling, num_future=3)}, r"embodiment\.action_horizon is for 9, .* for 13"),
        ({"codec": replace(tiny_config().codec, state=Normaliser(mean=(0.0,) * 3, std=(1.0,) * 3))}, "codec.state.mean is for 3"),
        ({"embodiment": replace(EMBODIMENT, state_names=("x", "y", "z"))}, "embodiment.state_names is for 3"),
        ({"autoencoder": AutoencoderConfig(latent_channels=5, stride=8, width=8)}, "autoencoder.latent_channels is for 5, the trunk for 6"),
    ],
)
def test_numbers_that_contradict_each_other_are_named(folder: Path, fields: dict[str, Any], message: str):
    save_config(replace(tiny_config(), **fields), folder)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_safety_limits_are_kept_checked_and_change_no_fingerprint(checkpoint: Checkpoint, folder: Path) -> None:
    limits = SafetyLimits.unknown(EMBODIMENT.action)
    limited = replace(checkpoint.config, safety=replace(limits, speed=(0.5, None, None, None), refuses=("speed",)))
    before = fingerprint(folder)
    save_config(limited, folder)
    assert load(folder).config.safety == limited.safety
    assert fingerprint(folder) == before
    short = SafetyLimits.unknown(replace(EMBODIMENT.action, names=("x",), low=(0.0,), high=(1.0,), gripper=()))
    save_config(replace(limited, safety=short), folder)
    with pytest.raises(CheckpointError, match="limits are for 1 numbers, the action has 4"):
        load(folder)
    save_config(limited, folder)
    edit_config(folder, lambda config: config["safety"].update(watchdog_s=-1.0))
    with pytest.raises(CheckpointError, match="watchdog_s holds -1"):
        load(folder)
