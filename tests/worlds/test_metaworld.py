"""Meta-World as a World: seeds decide everything, snapshots are exact, nothing in the state tells where the goal is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tau0.worlds.instructions import UnknownTaskError
from tau0.worlds.metaworld import DEMO_SUITE, EMBODIMENT, MT50, OUT_OF_SIGHT, MetaWorld, make_world
from tau0.worlds.protocol import Misbelief, World

FINGERPRINT = """
from tau0.worlds.metaworld import make_world
world = make_world("push-v3")
world.reset(int(__import__("sys").argv[1]))
[world.step(world.expert_action()) for _ in range(10)]
__import__("sys").stdout.write(world.state().tobytes().hex() + world.observe().images["front"].tobytes().hex())
world.close()
"""


@pytest.fixture
def push() -> Iterator[MetaWorld]:
    world = make_world("push-v3")
    yield world
    world.close()


def played(world: World, actions: np.ndarray) -> np.ndarray:
    """Everything that can be told about the world after each action."""
    rows = []
    for action in actions:
        solved = world.step(action)
        observation = world.observe()
        pixels = [observation.images[camera.name].ravel() for camera in world.embodiment.cameras]
        rows.append(np.concatenate([[solved], observation.state, world.expert_action(), *pixels]))
    return np.stack(rows)


def test_observation_fits_the_embodiment(push: MetaWorld) -> None:
    push.reset(0)
    observation = push.observe()
    observation.check(EMBODIMENT)
    assert observation.instruction == "push the cylinder to the green ball"
    assert observation.step == 0
    assert all(image.std() > 10 for image in observation.images.values())


def test_the_same_seed_gives_the_same_episode_whatever_came_before(push: MetaWorld) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)
    push.reset(3)
    first = played(push, actions)
    push.reset(4)
    other = played(push, actions)
    push.reset(3)
    assert np.array_equal(first, played(push, actions))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("task", DEMO_SUITE)
def test_the_first_picture_shows_where_things_are(task: str) -> None:
    world = make_world(task)
    try:
        for seed in (1, 2):
            world.reset(seed)
            first = world.observe().images
            world.restore(world.snapshot())
            again = world.observe().images
            assert all(np.array_equal(first[name], again[name]) for name in first)
    finally:
        world.close()


def test_the_same_seed_gives_the_same_episode_in_another_process(push: MetaWorld) -> None:
    push.reset(7)
    for _ in range(10):
        push.step(push.expert_action())
    here = push.state().tobytes().hex() + push.observe().images["front"].tobytes().hex()
    there = subprocess.run([sys.executable, "-c", FINGERPRINT, "7"], capture_output=True, text=True, check=True)
    assert there.stdout == here


@pytest.mark.parametrize("task", DEMO_SUITE)
def test_a_snapshot_restores_bit_for_bit(task: str) -> None:
    world = make_world(task)
    actions = np.random.default_rng(1).uniform(-1, 1, (12, 4)).astype(np.float32)
    world.reset(5)
    for _ in range(35):
        world.step(world.expert_action())
    snapshot = world.snapshot()
    first = played(world, actions)
    world.restore(snapshot)
    assert np.array_equal(first, played(world, actions))
    world.reset(6)
    world.restore(snapshot)
    assert np.array_equal(first, played(world, actions))
    world.close()


@pytest.mark.parametrize("task", DEMO_SUITE)
def test_the_expert_solves_every_task_of_the_demo(task: str) -> None:
    world = make_world(task)
    world.reset(11)
    assert any(world.step(world.expert_action()) for _ in range(150))


def test_the_state_holds_the_hand_but_not_the_goal(push: MetaWorld) -> None:
    states = []
    for seed in range(5):
        push.reset(seed)
        states.append(push.state())
    assert np.ptp(np.stack(states), axis=0).max() < 1e-3


def test_actions_are_clipped(push: MetaWorld) -> None:
    push.reset(0)
    push.step(np.full(4, 9.0, np.float32))
    far = push.state()
    push.reset(0)
    push.step(np.ones(4, np.float32))
    assert np.array_equal(far, push.state())


def test_episodes_may_be_longer_than_the_simulator_likes(push: MetaWorld) -> None:
    push.reset(0)
    for _ in range(510):
        push.step(np.zeros(4, np.float32))


def test_a_misbelief_changes_what_the_expert_does(push: MetaWorld) -> None:
    push.reset(0)
    right = push.expert_action()
    wrong = push.expert_action(Misbelief(objects=(0.1, 0.0, 0.0)))
    assert not np.array_equal(right, wrong)
    assert np.array_equal(right, push.expert_action())
    assert np.abs(wrong).max() <= 1.0


def test_two_worlds_in_one_process_take_turns(push: MetaWorld) -> None:
    reach = make_world("reach-v3")
    push.reset(0)
    reach.reset(0)
    before = push.observe().images["front"]
    assert not np.array_equal(before, reach.observe().images["front"])
    assert np.array_equal(before, push.observe().images["front"])
    reach.close()


def test_an_unknown_task_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownTaskError, match="did you mean reach-v3"):
        make_world("reach-v2")


def test_the_parts_that_are_hidden_are_out_of_sight(push: MetaWorld) -> None:
    model = push._env.model
    push.reset(2)
    for _ in range(4):
        for _ in range(12):
            push.step(push.expert_action())
        without, alpha = push.observe().images, model.geom_rgba[:, 3].copy()
        torso = np.isin(model.geom_bodyid, [model.body(name).id for name in OUT_OF_SIGHT])
        model.geom_rgba[torso, 3] = 1.0
        shown = push.observe().images
        model.geom_rgba[:, 3] = alpha
        assert all(np.array_equal(without[name], shown[name]) for name in without)


@pytest.mark.slow
@pytest.mark.parametrize("task", MT50)
def test_every_task_runs(task: str) -> None:
    world = make_world(task)
    world.reset(0)
    snapshot = world.snapshot()
    actions = np.stack([world.expert_action()] * 3)
    first = played(world, actions)
    world.restore(snapshot)
    assert np.array_equal(first, played(world, actions))
    world.observe().check(EMBODIMENT)
    world.close()
