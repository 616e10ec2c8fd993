"""What weights do not say about themselves is asked for, and checked against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published import DIM, SHAPE, contract, contract_fields

from tau0.checkpoint import CheckpointError
from tau0.convert.contract import Contract, read_contract
from tau0.presets import wan5b


def statistics(path: Path, **dims: int) -> Path:
    path.write_text(json.dumps({name: {"mean": [0.5] * dim, "std": [2.0] * dim, "count": 9} for name, dim in dims.items()}))
    return path


def test_the_published_contract_needs_statistics_alone(tmp_path: Path) -> None:
    """The robot and its actions fit the published sizes; the encoders are the contract's own business."""
    published = read_contract("published")
    encoders = {name: value for name, value in contract_fields().items() if name in ("autoencoder", "text")}
    encoders["autoencoder"]["latent_channels"] = 48
    whole = Contract(fields={**encoders, **published.fields, **encoders}, source=published.source)
    shape = wan5b().model
    with pytest.raises(CheckpointError, match="no statistics of action and state: give them with --statistics"):
        whole.config(shape, None)
    policy = whole.with_statistics(statistics(tmp_path / "policy.json", action=20, state=20), None)
    assert policy.config(shape.policy, None).simulator_actions is None
    with pytest.raises(CheckpointError, match="--simulator-statistics"):
        policy.config(shape, None)
    both = whole.with_statistics(tmp_path / "policy.json", statistics(tmp_path / "simulator.json", action=26))
    config = both.config(shape, None)
    assert config.model == shape
    assert config.simulator_actions is not None
    assert config.simulator_actions.held == (0.0,) * 6
    assert config.simulator_actions.codec.action.std == (2.0,) * 26
    assert [camera.name for camera in config.embodiment.cameras] == ["head", "left_wrist", "right_wrist"]
    assert (config.embodiment.action_horizon, config.embodiment.frame_stride, config.embodiment.control_hz) == (33, 4, 30.0)
    assert (config.codec.poses, config.codec.grippers) == ((0, 10), (9, 19))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"embodiment": None}, r"contract\.json: embodiment: Field required"),
        ({"text": None}, r"contract\.json: text: Field required"),
        ({"camera": "front"}, r"unknown fields \['camera'\]"),
        ({"codec": None}, "no statistics of action and state"),
        ({"codec": {"action": {"mean": [0.0], "std": [1.0]}, "state": {"mean": [0.0] * 7, "std": [1.0] * 7}}}, "action.mean is for 1"),
        ({"sampling": {"num_future": 3}}, r"action_horizon is for 9, group x sampling\.num_future \+ 1 for 13"),
        ({"autoencoder": {"latent_channels": 8}}, "latent_channels is for 8, the trunk for 4"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        contract(**changes).config(SHAPE, None)


def test_contract_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no contract 'publisht', did you mean 'published'"):
        read_contract("publisht")
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(contract_fields()))
    assert read_contract(str(path)).config(SHAPE, None).embodiment.action.dim == DIM
    path.write_text(json.dumps({**contract_fields(), "model": {}}))
    with pytest.raises(CheckpointError, match="model come with the weights"):
        read_contract(str(path))
    path.write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_contract(str(path))
    path.write_text("[]")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_contract(str(path))


def test_statistics_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no mean and std of state \(there are action\)"):
        contract().with_statistics(statistics(tmp_path / "a.json", action=7), None)
    with pytest.raises(CheckpointError, match="no simulator_actions"):
        contract().with_statistics(None, statistics(tmp_path / "b.json", action=7))
