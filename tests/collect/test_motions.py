"""Actions are changed in the same words for a hand that is displaced and for hands that are sent to poses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from tau0.collect.motions import Displacements, Poses, motions_of, with_grippers, with_grippers_flipped
from tau0.contract import Embodiment, Float
from tau0.worlds import metaworld, two_arm
from tau0.worlds.protocol import World

POSITIONS = [0, 1, 2, 10, 11, 12]
ROBOTS = pytest.mark.parametrize("robot", [metaworld.EMBODIMENT, two_arm.EMBODIMENT], ids=lambda robot: robot.name)


class Still:
    """A world of which only the state is asked."""

    def __init__(self, robot: Embodiment) -> None:
        self.embodiment = robot
        self._state = np.linspace(-0.3, 0.3, len(robot.state_names)).astype(np.float32)

    def state(self) -> Float:
        return self._state


def world_of(robot: Embodiment) -> World:
    return cast(Any, Still(robot))


def some_action(robot: Embodiment) -> Float:
    low, high = np.asarray(robot.action.low), np.asarray(robot.action.high)
    return (low + (high - low) * np.random.default_rng(0).uniform(0.3, 0.7, robot.action.dim)).astype(np.float32)


def test_each_robot_has_its_motions() -> None:
    assert isinstance(motions_of(metaworld.EMBODIMENT), Displacements)
    motions = motions_of(two_arm.EMBODIMENT)
    assert isinstance(motions, Poses)
    assert motions.hands == 2


@ROBOTS
def test_the_whole_motion_and_nothing_more_is_the_action_itself(robot: Embodiment) -> None:
    motions, action = motions_of(robot), some_action(robot)
    assert np.allclose(motions.moved(world_of(robot), action, 1.0, np.zeros(3 * motions.hands)), action, atol=1e-7)


def test_no_motion_of_poses_stays_where_the_hands_are_and_its_opposite_is_as_far_away() -> None:
    robot = two_arm.EMBODIMENT
    motions, action, world = motions_of(robot), some_action(robot), world_of(robot)
    nothing, state = np.zeros(6), world.state()
    still, opposite = motions.moved(world, action, 0.0, nothing), motions.moved(world, action, -1.0, nothing)
    assert np.allclose(still[POSITIONS], state[POSITIONS])
    assert np.allclose(opposite[POSITIONS] - state[POSITIONS], state[POSITIONS] - action[POSITIONS], atol=1e-6)
    rest = [i for i in range(20) if i not in POSITIONS]
    assert np.array_equal(still[rest], action[rest])


def test_each_hand_is_pushed_its_own_way() -> None:
    robot = two_arm.EMBODIMENT
    world = world_of(robot)
    pushed = motions_of(robot).moved(world, some_action(robot), 0.0, np.array([1, 0, 0, 0, 0, -1]))
    assert np.allclose((pushed - world.state())[POSITIONS], [0.03, 0, 0, 0, 0, -0.03], atol=1e-6)


@ROBOTS
def test_what_leaves_the_limits_is_clipped(robot: Embodiment) -> None:
    motions = motions_of(robot)
    far = motions.moved(world_of(robot), some_action(robot), 0.0, np.full(3 * motions.hands, 1e3))
    assert np.array_equal(far, robot.action.clip(far))


@ROBOTS
def test_grippers_open_close_and_flip(robot: Embodiment) -> None:
    action, spec = some_action(robot), robot.action
    grippers = list(spec.gripper)
    opened, closed = with_grippers(action, spec, 0.0), with_grippers(action, spec, 1.0)
    assert np.array_equal(opened[grippers], np.asarray(spec.low)[grippers])
    assert np.array_equal(with_grippers_flipped(opened, spec), closed)
    assert np.allclose(with_grippers_flipped(with_grippers_flipped(action, spec), spec), action)
