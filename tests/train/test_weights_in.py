"""Checkpoints that training cannot start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tau0.checkpoint import CONFIG_NAME, CheckpointConfig, CheckpointError, config_to_json
from tau0.train.weights_in import check_start
from tiny import MODEL, tiny_config


def refusal(folder: Path, found: CheckpointConfig, wanted: CheckpointConfig) -> str:
    (folder / CONFIG_NAME).write_text(config_to_json(found))
    with pytest.raises(CheckpointError) as error:
        check_start(folder, wanted)
    return str(error.value)


def test_every_size_that_differs_is_named(tmp_path: Path):
    found = tiny_config()
    (tmp_path / CONFIG_NAME).write_text(config_to_json(found))
    check_start(tmp_path, found)
    trunk = replace(MODEL.trunk, width=2 * MODEL.trunk.width, num_layers=7)
    said = refusal(tmp_path, found, replace(found, model=replace(MODEL, trunk=trunk)))
    sizes = (
        f"model.trunk.width is {MODEL.trunk.width}, expected {trunk.width}; model.trunk.num_layers is {MODEL.trunk.num_layers}, expected 7"
    )
    assert said == f"{tmp_path / CONFIG_NAME} is not of the shape that is to be trained: {sizes}"


def test_a_part_that_only_one_has_is_named_as_a_whole(tmp_path: Path):
    found = tiny_config()
    said = refusal(tmp_path, found, replace(found, model=MODEL.policy, simulator=MODEL.simulator))
    assert said.endswith(
        "model.conditioning is there, expected none; model.progress is there, expected none; simulator is none, expected there"
    )


def test_what_is_no_checkpoint_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="it has no config"):
        check_start(tmp_path, tiny_config())
