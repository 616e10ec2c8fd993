"""Two arms as a World: seeds decide everything, snapshots are exact, hands go where they are sent, experts recover."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tau0.collect.behaviours import recovering, standing_still
from tau0.collect.episode import rehearse
from tau0.collect.motions import Poses, motions_of
from tau0.data.layout import DUAL_ARM
from tau0.worlds.protocol import Misbelief, World
from tau0.worlds.two_arm import EMBODIMENT, TWO_ARM, TwoArm, make_world
from tau0.worlds.two_arm_scene import is_installed

needs_robosuite = pytest.mark.skipif(not is_installed(), reason="needs robosuite: pip install -e '.[two-arm]' -c constraints.txt")

FINGERPRINT = """
import sys
from tau0.worlds.two_arm import make_world
world = make_world("two-arm-handover")
world.reset(7)
[world.step(world.expert_action()) for _ in range(4)]
sys.stdout.write(world.state().tobytes().hex())
"""


@pytest.fixture(scope="module")
def lift() -> Iterator[TwoArm]:
    world = make_world("two-arm-lift")
    yield world
    world.close()


@pytest.fixture(scope="module")
def handover() -> Iterator[TwoArm]:
    world = make_world("two-arm-handover")
    yield world
    world.close()


def played(world: World, actions: np.ndarray) -> np.ndarray:
    """Everything that can be told about the world after each action, but for pictures."""
    return np.stack([np.concatenate([[world.step(action)], world.state(), world.expert_action()]) for action in actions])


def shaken(world: World, steps: int, seed: int = 1) -> np.ndarray:
    """Actions around where the hands are, hands opening and closing."""
    rng = np.random.default_rng(seed)
    actions = np.repeat(world.state()[None], steps, 0)
    actions[:, [0, 1, 2, 10, 11, 12]] += rng.normal(0, 0.04, (steps, 6)).astype(np.float32)
    actions[:, [9, 19]] = rng.integers(0, 2, (steps, 2))
    return actions


def test_state_and_action_are_the_published_twenty_numbers() -> None:
    assert EMBODIMENT.action.names == EMBODIMENT.state_names == DUAL_ARM.names
    assert EMBODIMENT.action.gripper == DUAL_ARM.absolute
    assert [camera.name for camera in EMBODIMENT.cameras] == ["head", "left_hand", "right_hand"]
    assert isinstance(motions_of(EMBODIMENT), Poses)


@needs_robosuite
def test_observation_fits_the_embodiment(lift: TwoArm) -> None:
    lift.reset(0)
    observation = lift.observe()
    observation.check(EMBODIMENT)
    assert observation.instruction == "lift the pot by both handles"
    assert all(image.std() > 10 for image in observation.images.values())


@needs_robosuite
def test_drawing_changes_nothing(lift: TwoArm) -> None:
    lift.reset(3)
    actions = shaken(lift, 3)
    first = played(lift, actions)
    lift.reset(3)
    for action, row in zip(actions, first, strict=True):
        lift.observe()
        lift.step(action)
        assert np.array_equal(lift.state(), row[1:21].astype(np.float32))


@needs_robosuite
@pytest.mark.parametrize("name", TWO_ARM)
def test_a_snapshot_restores_bit_for_bit(name: str, request: pytest.FixtureRequest) -> None:
    world: TwoArm = request.getfixturevalue(name.removeprefix("two-arm-"))
    world.reset(5)
    for _ in range(25):
        world.step(world.expert_action())
    snapshot, actions = world.snapshot(), shaken(world, 8)
    first = played(world, actions)
    world.restore(snapshot)
    assert np.array_equal(first, played(world, actions))
    world.reset(6)
    world.restore(snapshot)
    assert np.array_equal(first, played(world, actions))


@needs_robosuite
def test_the_same_seed_gives_the_same_episode_whatever_came_before(handover: TwoArm) -> None:
    handover.reset(3)
    first = played(handover, shaken(handover, 5))
    handover.reset(4)
    other = played(handover, shaken(handover, 5))
    handover.reset(3)
    assert np.array_equal(first, played(handover, shaken(handover, 5)))
    assert not np.array_equal(first, other)


@needs_robosuite
def test_the_same_seed_gives_the_same_episode_in_another_process(handover: TwoArm) -> None:
    handover.reset(7)
    for _ in range(4):
        handover.step(handover.expert_action())
    there = subprocess.run([sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True)
    assert there.stdout == handover.state().tobytes().hex()
    assert there.stderr == ""


@needs_robosuite
def test_resetting_leaves_the_global_generator_alone(lift: TwoArm) -> None:
    np.random.seed(3)
    wanted = np.random.random(2)
    np.random.seed(3)
    lift.reset(0)
    assert np.array_equal(np.random.random(2), wanted)


@needs_robosuite
def test_hands_go_where_they_are_sent(lift: TwoArm) -> None:
    lift.reset(1)
    target = lift.state()
    target[[0, 10]] -= 0.05
    target[[2, 12]] += 0.08
    target[[9, 19]] = 1.0, 0.0
    for _ in range(25):
        lift.step(target)
    reached = lift.state()
    assert np.abs(reached - target)[[0, 1, 2, 10, 11, 12]].max() < 0.003
    assert np.abs(reached - target)[[9, 19]].max() < 0.05
    assert np.abs(reached - target)[[*range(3, 9), *range(13, 19)]].max() < 0.02


@needs_robosuite
def test_an_action_without_a_rotation_keeps_the_one_there_is(lift: TwoArm) -> None:
    lift.reset(1)
    before = lift.state()
    action = before.copy()
    action[[*range(3, 9), *range(13, 19)]] = 0.0
    for _ in range(3):
        lift.step(action)
    assert np.abs(lift.state() - before).max() < 0.5
    assert np.isfinite(lift.state()).all()


@needs_robosuite
@pytest.mark.parametrize("name", TWO_ARM)
def test_the_expert_solves_its_task(name: str, request: pytest.FixtureRequest) -> None:
    world: TwoArm = request.getfixturevalue(name.removeprefix("two-arm-"))
    world.reset(1)
    assert any(world.step(world.expert_action()) for _ in range(180))


@needs_robosuite
def test_the_expert_recovers_and_standing_still_fails(lift: TwoArm) -> None:
    script = rehearse(lift, 1_000_004, recovering(np.random.default_rng(2), 0.8, hands=2), max_steps=300)
    assert script.succeeds
    assert np.abs(script.actions - script.labels).max() > 0.005
    assert not rehearse(lift, 1_000_004, standing_still(hands=2), max_steps=20).succeeds


@needs_robosuite
def test_a_misbelief_changes_what_the_expert_does(lift: TwoArm) -> None:
    lift.reset(0)
    right = lift.expert_action()
    wrong = lift.expert_action(Misbelief(objects=(0.1, 0.0, 0.0)))
    assert not np.array_equal(right, wrong)
    assert np.array_equal(right, lift.expert_action())


@needs_robosuite
def test_where_a_lift_has_no_goal_it_is_the_left_hand_that_is_mistaken(lift: TwoArm) -> None:
    lift.reset(0)
    changed = lift.expert_action() != lift.expert_action(Misbelief(goal=(0.1, 0.0, 0.0)))
    assert changed[:10].any()
    assert not changed[10:].any()
