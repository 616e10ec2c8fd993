"""Two arms and three cameras are trained as one arm and two are: the preset takes on the robot's numbers. No simulator is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tau0.checkpoint import load
from tau0.contract import ContractError
from tau0.data.assemble import assemble
from tau0.data.descriptions import PRESETS
from tau0.data.schema import EpisodeRecord
from tau0.data.writer import UnitWriter
from tau0.presets import preset
from tau0.train.config import AutoencoderTraining
from tau0.train.ingredients import align_sources, dataset_mixture, mixture_embodiment, world_robot
from tau0.train.run import Callbacks, Recipe, RunPlan, run
from tau0.worlds import metaworld, two_arm
from tiny import EMBODIMENT

pytestmark = pytest.mark.usefixtures("copied_processes")
ROBOT = two_arm.EMBODIMENT
HANDS = np.array([0.5, 0.1, 0.2, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0] * 2, np.float32)
"""Both hands point down, open."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four demonstrations in which both hands drift."""
    root = tmp_path_factory.mktemp("two-arm") / "data"
    with UnitWriter(root, "only", ROBOT) as writer:
        for seed in range(4):
            fake = EpisodeRecord.fake(24, seed, cameras=tuple(camera.name for camera in ROBOT.cameras), size=two_arm.IMAGE_SIZE)
            away = np.random.default_rng(seed).normal(0.0, 0.02, (24, 20)).cumsum(axis=0) * (np.arange(20) % 10 < 3)
            poses = (HANDS + away).astype(np.float32)
            writer.add(replace(fake, meta=replace(fake.meta, task="two-arm-lift"), state=poses, action=poses + 0.01, expert_action=poses))
    assemble(root, ["only"], ROBOT)
    return root


def recipe() -> Recipe:
    size = preset("tiny")
    assert size.autoencoder is not None
    quick = AutoencoderTraining(minutes=0.01, num_frames=24, batch=4)
    train = replace(size.train, max_steps=1, workers=1, policy_batch=2, simulator_batch=2, autoencoder=quick)
    return Recipe(name="tiny", embodiment=ROBOT, model=size.model, autoencoder=size.autoencoder, train=train)


def test_a_collected_dataset_is_opened_with_its_own_layout(recorded: Path) -> None:
    mixture = dataset_mixture(recorded, ROBOT, 2)
    assert (mixture.layout, mixture.rate_hz, mixture.roles) == ("dual_arm", 20.0, ("head", "left_hand", "right_hand"))
    assert mixture.sources[0].description == PRESETS["two_arm"]
    assert world_robot(mixture) == ROBOT
    with pytest.raises(ContractError, match="does not fit"):
        dataset_mixture(recorded, metaworld.EMBODIMENT, 2)


def test_what_nothing_of_ours_records_needs_a_mixture(recorded: Path) -> None:
    one_camera = replace(ROBOT, cameras=ROBOT.cameras[:1])
    with pytest.raises(
        ContractError, match=r"cameras head and 20 actions.* head, left_hand, right_hand and 20 actions: train on a mixture"
    ):
        dataset_mixture(recorded, one_camera, 2)


def test_training_takes_on_the_robots_numbers(recorded: Path, tmp_path: Path) -> None:
    folder = run(RunPlan(recipe=recipe(), mixture=dataset_mixture(recorded, ROBOT, 2), out=tmp_path, cache=tmp_path / "cache"), Callbacks())
    config = load(folder).config
    assert (config.model.action.dim, config.model.conditioning.action_dim) == (20, 20)  # pyright: ignore[reportOptionalMemberAccess]
    assert (config.codec.reference, config.codec.poses, config.codec.grippers) == ("relative", (0, 10), (9, 19))
    assert config.embodiment == ROBOT
    assert config.absent == ()


def test_a_mixture_acts_in_the_world_whose_pictures_and_rate_it_has(recorded: Path, tmp_path: Path) -> None:
    mixture = replace(dataset_mixture(recorded, ROBOT, 2), weigh="hours")
    sources = align_sources(mixture, cache=tmp_path)
    assert mixture_embodiment(mixture, sources) == ROBOT
    slower = replace(mixture, rate_hz=10.0)
    own = mixture_embodiment(slower, align_sources(slower, cache=tmp_path))
    assert world_robot(slower) is None
    assert (own.name, own.state_names) == (ROBOT.name, ROBOT.state_names)
    assert own.action.high != ROBOT.action.high
    written_out = replace(EMBODIMENT, cameras=ROBOT.cameras, control_hz=20.0, action_horizon=17, frame_stride=8)
    assert world_robot(replace(mixture, embodiment=written_out)) is None
