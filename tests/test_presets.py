"""The published size, counted without allocating it, and who may train what."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from tau0.actions import ActionCodec, Normaliser
from tau0.checkpoint import SimulatorActions
from tau0.cli import run
from tau0.cli.errors import FAILED
from tau0.encode import executable_actions
from tau0.model.config import WorldModelConfig
from tau0.model.world_model import WorldModel
from tau0.presets import PRESETS, preset, wan5b
from tiny import DIM, tiny_config

POLICY, ACTION_EXPERT = 5_511_465_172, 511_677_460
SIMULATOR, PROGRESS_EXPERT, CONDITIONING = 5_952_062_785, 914_489_857, 37_785_216


def count(module: nn.Module | None) -> int:
    assert module is not None
    assert all(parameter.is_meta for parameter in module.parameters())
    return sum(parameter.numel() for parameter in module.parameters())


def unallocated(config: WorldModelConfig) -> WorldModel:
    with torch.device("meta"):
        return WorldModel(config)


def test_wan5b_has_the_published_number_of_parameters() -> None:
    shape = wan5b().model
    policy, simulator, both = (unallocated(config) for config in (shape.policy, shape.simulator, shape))
    assert (count(policy), count(policy.action_expert)) == (POLICY, ACTION_EXPERT)
    assert (count(simulator), count(simulator.progress_expert), count(simulator.conditioning)) == (SIMULATOR, PROGRESS_EXPERT, CONDITIONING)
    assert count(both) == SIMULATOR + ACTION_EXPERT == 6_463_740_245
    assert policy.conditioning is None
    assert simulator.action_expert is None


def test_wan5b_acts_with_20_numbers_and_imagines_26() -> None:
    shape = wan5b().model
    assert shape.action is not None
    assert shape.conditioning is not None
    assert (shape.action.dim, shape.conditioning.action_dim) == (20, 26)


def test_presets_say_which_are_trained_from_nothing() -> None:
    assert {name for name in PRESETS if preset(name).autoencoder is not None} == {"tiny", "nano"}
    with pytest.raises(ValueError, match="did you mean 'wan5b'"):
        preset("wan-5b")


def test_train_refuses_the_published_size_in_a_sentence(tmp_path: Path) -> None:
    said = io.StringIO()
    status = run(["train", "wan5b", "--data", "d", "--out", str(tmp_path / "out")], Console(file=said), Console(file=said, width=200))
    assert status == FAILED
    assert "preset wan5b is too large to train from nothing here (there are tiny, nano): see tau0 convert --help" in said.getvalue()
    assert not (tmp_path / "out").exists()


def test_what_the_policy_does_not_command_is_held_for_the_simulator() -> None:
    """The policy's numbers arrive in the simulator's own statistics; the held ones follow."""
    config = tiny_config()
    held = (0.25, -1.5)
    mean, std = (0.0, 0.1, 0.2, 0.3, 0.05, -1.0), (1.0, 0.5, 0.5, 2.0, 0.1, 0.25)
    told = ActionCodec(action=Normaliser(mean=mean, std=std), state=config.codec.state, reference="relative", grippers=(3, 4, 5))
    generator = torch.Generator().manual_seed(0)
    actions, state = 0.1 * torch.randn(3, 9, DIM, generator=generator), torch.tensor([0.1, 0.2, 0.3, 0.4])
    wide = executable_actions(replace(config, simulator_actions=SimulatorActions(codec=told, held=held)), actions, state)
    assert wide.shape == (3, 9, 6)
    back = told.decode(wide, state.expand(3, -1))
    executed = config.codec.decode(executable_actions(config, actions, state), state.expand(3, -1))
    torch.testing.assert_close(back[..., :DIM], executed)
    torch.testing.assert_close(back[..., DIM:], torch.tensor(held).expand(3, 9, 2))
