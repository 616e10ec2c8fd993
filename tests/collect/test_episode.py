"""Rehearsing, filming and branching on the real physics of one task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tau0.collect import behaviours
from tau0.collect.branches import branch_frames, group_behaviours, record_branch
from tau0.collect.episode import TAIL_STEPS, Script, film, rehearse, steps_to_solve
from tau0.data.progress import success_progress
from tau0.data.schema import EpisodeMeta
from tau0.worlds.metaworld import MetaWorld, make_world

META = EpisodeMeta(task="reach-v3", kind="branch", success=False, seed=0, instruction="reach", branch="expert", group=0, parent=0)


@pytest.fixture(scope="module")
def world() -> Iterator[MetaWorld]:
    world = make_world("reach-v3")
    yield world
    world.close()


@pytest.fixture(scope="module")
def script(world: MetaWorld) -> Script:
    return rehearse(world, 1_000_003, behaviours.recovering(np.random.default_rng(5)), max_steps=300)


def test_a_demonstration_ends_a_little_after_its_first_success(script: Script) -> None:
    assert script.succeeds
    assert len(script) == script.solved_at + TAIL_STEPS
    assert not script.solved[: script.solved_at - 1].any()


def test_what_is_executed_is_disturbed_and_what_is_learnt_is_not(world: MetaWorld, script: Script) -> None:
    assert np.abs(script.actions - script.labels).max() > 0.1
    world.reset(script.seed)
    for action, label in zip(script.actions, script.labels, strict=True):
        assert np.array_equal(world.expert_action(), label)
        world.step(action)


def test_a_film_repeats_the_script_and_keeps_the_physics_asked_for(world: MetaWorld, script: Script) -> None:
    filmed = film(world, script, [7])
    assert filmed.state.shape == (len(script), 4)
    assert filmed.images["front"].shape == (len(script), 96, 96, 3)
    world.restore(filmed.snapshots[7])
    observation = world.observe()
    assert np.array_equal(observation.state, filmed.state[7])
    assert np.array_equal(observation.images["wrist"], filmed.images["wrist"][7])


def test_a_script_that_does_not_repeat_is_refused(world: MetaWorld, script: Script) -> None:
    with pytest.raises(RuntimeError, match="did not repeat itself at step"):
        film(world, replace(script, solved=~script.solved))


def test_branches_share_their_first_frame_and_the_experts_is_nearest_to_success(world: MetaWorld, script: Script) -> None:
    frame = script.solved_at - 20
    filmed = film(world, script, [frame])
    expert = record_branch(world, filmed.snapshots[frame], behaviours.expert(), META, steps=17)
    still = record_branch(world, filmed.snapshots[frame], behaviours.standing_still(), META, steps=17)
    away = record_branch(world, filmed.snapshots[frame], behaviours.negated(), META, steps=17)
    for branch in (expert, still, away):
        assert len(branch) == 17
        assert np.array_equal(branch.state[0], filmed.state[frame])
        assert np.array_equal(branch.images["front"][0], filmed.images["front"][frame])
    assert expert.progress[-1] > still.progress[-1] > away.progress[-1] > -1
    assert expert.meta.remaining < still.meta.remaining < away.meta.remaining


def test_progress_of_the_experts_branch_continues_the_demonstrations(world: MetaWorld) -> None:
    clean = rehearse(world, 1_000_004, behaviours.expert(), max_steps=300)
    frame = clean.solved_at - 30
    filmed = film(world, clean, [frame])
    branch = record_branch(world, filmed.snapshots[frame], behaviours.expert(), META, steps=17)
    np.testing.assert_allclose(branch.progress, success_progress(len(clean))[frame : frame + 17], atol=1e-6)


def test_a_branch_that_arrives_is_solved_and_needs_nothing_more(world: MetaWorld) -> None:
    clean = rehearse(world, 1_000_004, behaviours.expert(), max_steps=300)
    filmed = film(world, clean, [clean.solved_at - 4])
    branch = record_branch(world, filmed.snapshots[clean.solved_at - 4], behaviours.expert(), META, steps=17)
    assert branch.meta.success
    assert branch.meta.remaining == 0
    assert branch.progress[-1] == 1.0


def test_an_expert_without_time_does_not_arrive(world: MetaWorld) -> None:
    world.reset(0)
    assert steps_to_solve(world, 3) is None


def test_branch_frames_lie_before_success_and_favour_its_approach(script: Script) -> None:
    rng = np.random.default_rng(0)
    frames = np.concatenate([branch_frames(script, 2, rng) for _ in range(300)])
    assert frames.max() < script.solved_at
    assert (frames >= 2 * script.solved_at // 3).mean() > 0.5


def test_a_group_has_five_different_behaviours() -> None:
    for seed in range(20):
        group = group_behaviours(np.random.default_rng(seed))
        assert [name for name, _ in group] == ["expert", "near_miss", "near_miss", "wrong", "wrong"]


@pytest.mark.parametrize("seed", range(8))
def test_failures_fail_more_often_than_not(world: MetaWorld, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scripts = [rehearse(world, int(rng.integers(10**6, 2 * 10**6)), behaviours.failing(rng), 80) for _ in range(4)]
    assert not all(script.succeeds for script in scripts)
    assert all(np.abs(script.actions).max() <= 1 for script in scripts)
