"""Chunks that were not executed, and whether imagined motion follows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tau0.actions import ActionCodec, Normaliser
from tau0.evaluate.simulator_chunks import LARGEST, drawn, negated, told_codec, zeroed
from tau0.evaluate.simulator_direction import correlation_interval, direction_card
from tau0.evaluate.simulator_intervals import mean_interval, one_minus, ratio_interval
from tau0.evaluate.statistics import clustered_interval
from tiny import tiny_config

POSES = 9


def displacement_codec(std: tuple[float, ...] = (0.5, 0.25, 1.0)) -> ActionCodec:
    statistics = Normaliser(mean=(0.1, -0.2, 0.3), std=std)
    return ActionCodec(action=statistics, state=statistics, grippers=(2,))


def test_negated_chunks_move_the_other_way_and_keep_the_gripper():
    codec, chunk = displacement_codec(), torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    before, after = codec.action.denormalise(chunk), codec.action.denormalise(negated(codec, chunk))
    torch.testing.assert_close(after[..., :2], -before[..., :2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after[..., 2], before[..., 2])
    torch.testing.assert_close(negated(codec, negated(codec, chunk)), chunk, atol=1e-5, rtol=1e-5)


def test_zeroed_chunks_do_not_move_and_keep_the_gripper():
    codec, chunk = displacement_codec(), torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    after = codec.action.denormalise(zeroed(codec, chunk))
    assert after[..., :2].abs().max() < 1e-5
    torch.testing.assert_close(zeroed(codec, chunk)[..., 2], chunk[..., 2])


def test_rotations_are_inverted_and_stilled():
    statistics = Normaliser(mean=(0.0,) * POSES, std=(1.0,) * POSES)
    codec = ActionCodec(action=statistics, state=statistics, reference="relative", poses=(0,))
    turn = torch.tensor([0.1, 0.2, 0.3, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0]).expand(1, 2, -1)
    torch.testing.assert_close(negated(codec, turn)[0, 0], torch.tensor([-0.1, -0.2, -0.3, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(zeroed(codec, turn)[0, 0], torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))


def test_a_number_that_never_changes_stays():
    codec, chunk = displacement_codec(std=(0.5, 0.0, 1.0)), torch.zeros(1, 2, 3)
    assert (negated(codec, chunk)[..., 1] == 0).all()
    assert (zeroed(codec, chunk)[..., 1] == 0).all()


def test_random_chunks_are_held_bounded_and_follow_from_their_seeds():
    chunk = torch.zeros(3, 5, 4)
    first = drawn(chunk, [1, 2, 1])
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[:, :1].expand_as(first), first)
    assert drawn(torch.zeros(200, 2, 4), range(200)).abs().max() <= LARGEST


def test_the_simulators_codec_is_that_of_the_checkpoints_robot():
    config = tiny_config()
    assert told_codec(config) is config.codec


def test_a_codec_that_measures_nothing_leaves_it_to_the_robot_to_say_what_a_gripper_is():
    config = tiny_config()
    dim, gripper = config.embodiment.action.dim, config.embodiment.action.gripper
    steps = replace(config, codec=replace(config.codec, reference="relative", poses=(), grippers=tuple(range(dim))))
    assert gripper
    assert told_codec(steps) == replace(config.codec, reference="absolute", poses=(), grippers=gripper)
    chunk = torch.randn(2, 3, dim, generator=torch.Generator().manual_seed(0))
    changed = (negated(told_codec(steps), chunk) != chunk).flatten(0, 1).any(dim=0)
    assert changed.tolist() == [i not in gripper for i in range(dim)]


def pictured(states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames that show the state linearly, with a little noise: (n, f, ds) to (n, f, 40)."""
    shown = np.random.default_rng(5).normal(size=(states.shape[-1], 40))
    return states @ shown + 0.02 * rng.normal(size=(*states.shape[:-1], 40))


def directions(follows: bool):
    """The card of a simulator that moves as told, or one that shows the true future whatever it is told."""
    rng = np.random.default_rng(0)
    start, moved = rng.normal(size=(120, 2)), rng.normal(size=(120, 2))
    fixed = np.full((120, 1), 0.7)
    donors = np.roll(np.arange(120), 1)
    states = np.stack([start, start + moved / 2, start + moved], axis=1)
    goes = {"future": moved, "negated": -moved, "zeroed": 0 * moved, "swapped": moved[donors]}
    imagined = {name: pictured(start + (move if follows else moved), rng) for name, move in goes.items()}
    frames, families = pictured(states, rng), np.repeat(np.arange(40), 3)
    with_constant = np.concatenate([states, np.repeat(fixed[:, None], 3, axis=1)], axis=2)
    return direction_card(frames, with_constant, imagined, donors, families, ("x", "y", "fixed"), rng)


def test_motion_that_follows_the_actions_is_seen_to():
    card = directions(follows=True)
    assert card is not None
    assert card.numbers == ("x", "y")
    assert card.read_from_real.low > 0.95
    assert card.own.low > 0.95
    assert card.negated.high < -0.95
    assert card.swapped.low > 0.9
    assert card.motion_when_zeroed.high < 0.05


def test_a_simulator_that_ignores_actions_is_found_out():
    card = directions(follows=False)
    assert card is not None
    assert card.own.low > 0.95
    assert card.negated.low > 0.95
    assert card.swapped.low < 0.1
    assert card.motion_when_zeroed.low > 0.8


def test_states_that_do_not_change_tell_no_direction():
    still, rng = np.zeros((20, 3, 2)), np.random.default_rng(0)
    imagined = {name: np.zeros((20, 40)) for name in ("future", "negated", "zeroed", "swapped")}
    assert direction_card(pictured(still, rng), still, imagined, np.arange(20), np.arange(20), ("x", "y"), rng) is None


def test_intervals_of_ratios_are_those_of_the_slow_way():
    rng = np.random.default_rng(0)
    above, below, clusters = rng.uniform(size=90), rng.uniform(1, 2, size=90), np.repeat(np.arange(15), 6)
    fast = ratio_interval(above, below, clusters, np.random.default_rng(1))
    slow = clustered_interval(lambda at: float(above[at].sum() / below[at].sum()), clusters, np.random.default_rng(1))
    assert (fast.estimate, fast.low, fast.high) == pytest.approx((slow.estimate, slow.low, slow.high))
    mean = mean_interval(above, clusters, rng)
    assert mean.estimate == pytest.approx(above.mean())
    assert one_minus(mean).low == pytest.approx(1 - mean.high)
    with pytest.raises(ValueError, match="3 samples do not define the ratio"):
        ratio_interval(np.ones(3), np.zeros(3), np.arange(3), rng)


def test_correlation_is_pearsons_and_zero_where_nothing_varies():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 2))
    second = np.stack([first[:, 0] + rng.normal(size=200), np.ones(200)], axis=1)
    interval = correlation_interval(first, second, np.arange(200), rng)
    assert interval.estimate == pytest.approx(np.corrcoef(first[:, 0], second[:, 0])[0, 1] / 2)
    assert interval.low < interval.estimate < interval.high
