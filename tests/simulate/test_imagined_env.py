"""The world model as a Gymnasium environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tau0.checkpoint import Checkpoint, CheckpointError
from tau0.contract import ContractError, Observation
from tau0.limits import SafetyLimits
from tau0.simulate import ImaginedEnv
from tau0.simulate.imagined_env import ENV_ID
from tau0.simulate.reckoning import reckoned_state
from tiny import DIM, EMBODIMENT, MODEL

LIMITS = SafetyLimits(
    meaning=("step", "position", "step", "effort"),
    step_size=(0.1, 1.0, 0.5, 1.0),
    low=(-1.0, None, None, None),
    high=(1.0, None, None, None),
    speed=(None,) * 4,
    acceleration=(None,) * 4,
)
START = Observation.fake(EMBODIMENT)
CHUNK = np.random.default_rng(0).uniform(-1, 1, (EMBODIMENT.action_horizon - 1, DIM)).astype(np.float32)


@pytest.fixture
def env(checkpoint: Checkpoint) -> ImaginedEnv:
    limited = replace(checkpoint, config=replace(checkpoint.config, safety=LIMITS))
    return ImaginedEnv(limited, START, solved_at=2.0, max_chunks=3, render_mode="rgb_array")


def test_gymnasiums_own_checker_finds_nothing(checkpoint: Checkpoint) -> None:
    made = gymnasium.make(ENV_ID, checkpoint=checkpoint, start=START, render_mode="rgb_array", disable_env_checker=True)
    check_env(made.unwrapped)


def test_a_step_imagines_pictures_and_progress_and_reckons_the_state(env: ImaginedEnv) -> None:
    first, info = env.reset(seed=0)
    assert info == {"instruction": START.instruction}
    assert np.array_equal(first["state"], START.state)
    seen, reward, terminated, truncated, info = env.step(CHUNK)
    assert seen in env.observation_space
    assert info["frames"].shape == (2, 2, 32, 32, 3)
    assert np.array_equal(seen["images"]["wrist"], info["frames"][1, -1])
    assert reward == info["progress"][-1]
    assert (terminated, truncated) == (False, False)
    np.testing.assert_allclose(seen["state"], reckoned_state(START.state, CHUNK, LIMITS), rtol=1e-6)
    picture = env.render()
    assert picture.shape == (32, 64, 3)
    assert np.array_equal(picture[:, 32:], seen["images"]["wrist"])


def test_actions_and_memory_matter_and_seeds_repeat(env: ImaginedEnv) -> None:
    def play(seed: int, *chunks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        env.reset(seed=seed)
        return np.concatenate([env.step(chunk)[4]["progress"] for chunk in chunks])

    assert np.array_equal(play(1, CHUNK, CHUNK), play(1, CHUNK, CHUNK))
    assert not np.array_equal(play(1, CHUNK), play(1, -CHUNK))
    assert not np.array_equal(play(1, CHUNK), play(2, CHUNK))


def test_episodes_end_when_solved_and_are_cut_off(env: ImaginedEnv, checkpoint: Checkpoint) -> None:
    env.reset(seed=0)
    assert [env.step(CHUNK)[3] for _ in range(3)] == [False, False, True]
    easy = ImaginedEnv(checkpoint, START, solved_at=-1.0)
    easy.reset(seed=0)
    assert easy.step(CHUNK)[2] is True


def test_episodes_start_where_they_are_told(checkpoint: Checkpoint) -> None:
    starts = [Observation.fake(EMBODIMENT, seed) for seed in range(4)]
    env = ImaginedEnv(checkpoint, starts)
    drawn = {float(env.reset(seed=seed)[0]["state"][0]) for seed in range(20)}
    assert drawn == {float(start.state[0]) for start in starts}
    elsewhere = Observation.fake(EMBODIMENT, 9)
    seen, _ = env.reset(options={"observation": elsewhere})
    assert np.array_equal(seen["images"]["front"], elsewhere.images["front"])
    seen["images"]["front"][:] = 0
    assert np.array_equal(env.reset(options={"observation": elsewhere})[0]["images"]["front"], elsewhere.images["front"])


def test_mistakes_are_told(checkpoint: Checkpoint, env: ImaginedEnv) -> None:
    blind = ImaginedEnv(checkpoint)
    with pytest.raises(ContractError, match="nowhere to start"):
        blind.reset()
    with pytest.raises(ContractError, match="call reset"):
        blind.step(CHUNK)
    with pytest.raises(ContractError, match="of type dict"):
        blind.reset(options={"observation": {}})
    with pytest.raises(ContractError, match="lacks camera"):
        blind.reset(options={"observation": replace(START, images={})})
    env.reset(seed=0)
    for wrong in (CHUNK[:-1], np.full_like(CHUNK, np.nan)):
        with pytest.raises(ContractError, match="expected finite numbers of shape"):
            env.step(wrong)
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        ImaginedEnv(checkpoint, START, render_mode="human")
    with pytest.raises(ValueError, match="max_chunks"):
        ImaginedEnv(checkpoint, START, max_chunks=0)
    with pytest.raises(CheckpointError, match="has no simulator"):
        ImaginedEnv(replace(checkpoint, config=replace(checkpoint.config, model=replace(MODEL, progress=None))), START)


def test_the_state_is_reckoned_by_what_commands_mean() -> None:
    state, actions = np.array([0.9, 0.0, 0.0, 0.4], np.float32), np.array([[1, 2, 1, 1], [1, 3, -2, 1]], np.float32)
    np.testing.assert_allclose(reckoned_state(state, actions, LIMITS), [1.0, 3.0, -0.5, 0.4], rtol=1e-6)
    outside = np.array([1.5, 0.0, 0.0, 0.4], np.float32)
    assert reckoned_state(outside, actions, LIMITS)[0] == 1.5
    assert np.array_equal(reckoned_state(state, actions, SafetyLimits.unknown(EMBODIMENT.action)), state)
