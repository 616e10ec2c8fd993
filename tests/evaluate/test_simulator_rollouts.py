"""Long rollouts in a world whose frames are the first one plus all actions so far, by simulators that know it or do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from einops import rearrange
from fake_simulators import CHANNELS, HORIZON, MEMORY, SIDE, VIEWS, Knows, World, held_out, moved

from tau0.checkpoint import Checkpoint
from tau0.evaluate.simulator_rollout_results import RolloutErrors, rollout_card
from tau0.evaluate.simulator_rollouts import Rollouts, choose_rollouts
from tau0.tensors import Batch

AHEAD = HORIZON - 1


class Continued(World):
    """Chunks follow each other: a window begins where the one before it ended."""

    def _sample(self, row: int) -> Batch:
        episode = next(e for e in self._episodes if e.start <= row < e.stop)
        first = torch.randn(1, CHANNELS, 1, SIDE, VIEWS * SIDE, generator=torch.Generator().manual_seed(episode.index))
        sample, current, future = super()._sample(row), first, first
        for start in range(episode.start, row + 1, AHEAD):
            current = future[:, :, -1:]
            future = moved(current, super()._sample(start).executed_actions)
        canvas = torch.cat([current.expand(-1, -1, MEMORY + 1, -1, -1), future], dim=2)
        return replace(sample, latents=rearrange(canvas, "b z f h (v w) -> b v z f h w", v=VIEWS), text=torch.ones_like(sample.text))


def errors_of(checkpoint: Checkpoint, simulator: Knows) -> RolloutErrors:
    episodes = held_out()
    rolled = choose_rollouts(episodes, AHEAD, 10, np.random.default_rng(0))
    rollouts = Rollouts(replace(checkpoint, simulator=cast(Any, simulator)), Continued(episodes).gather, None, seed=0)
    counted: list[int] = []
    errors, films = rollouts.run(rolled, counted.append)
    assert films == []
    assert sum(counted) == sum((episode.length - 1) // AHEAD for episode in rolled)
    return errors


def test_a_perfect_simulator_never_breaks(checkpoint: Checkpoint):
    errors = errors_of(checkpoint, Knows())
    assert np.nanmax(errors.imagined) < 1e-8
    card = rollout_card(errors, np.random.default_rng(0))
    assert (card.num_rollouts, card.is_broken, card.is_late) == (5, False, False)
    assert card.unbroken.estimate == card.lasted.estimate == 1.0
    assert card.horizon_s.estimate == pytest.approx(errors.seconds[-1])
    assert errors.seconds == pytest.approx(tuple(0.4 * (i + 1) for i in range(len(errors.seconds))))
    assert all(frame.gain is not None and frame.gain.estimate == pytest.approx(1.0) for frame in card.frames)


def test_a_simulator_that_copies_is_no_better_than_the_first_frame(checkpoint: Checkpoint):
    errors = errors_of(checkpoint, Knows(copies=True))
    np.testing.assert_allclose(errors.imagined, errors.copied, rtol=1e-3)
    card = rollout_card(replace(errors, imagined=errors.copied), np.random.default_rng(0))
    assert card.is_broken
    assert (card.horizon_s.estimate, card.lasted.estimate, card.unbroken.estimate) == (0.0, 0.0, 0.0)


def test_a_late_camera_sees_what_was_true_one_window_ago(checkpoint: Checkpoint):
    errors = errors_of(checkpoint, Knows())
    np.testing.assert_allclose(errors.late[:, :2], errors.copied[:, :2])
    assert not np.allclose(errors.late[:, 2:4], errors.copied[:, 2:4])


def test_the_break_is_where_it_never_recovers_again():
    worse_from_third = np.array([[0.1, 3.0, 0.5, 2.0, 2.0]] * 8)
    always_better = np.array([[0.1, 0.1, 0.1, 0.1, np.nan]] * 2)
    errors = RolloutErrors(
        seconds=(1.0, 2.0, 3.0, 4.0, 5.0),
        imagined=np.concatenate([worse_from_third, always_better]),
        copied=np.ones((10, 5)),
        late=np.full((10, 5), 10.0),
    )
    card = rollout_card(errors, np.random.default_rng(0))
    assert (card.horizon_s.estimate, card.is_broken) == (3.0, True)
    assert (card.late_horizon_s.estimate, card.is_late) == (5.0, False)
    assert card.unbroken.estimate == pytest.approx(0.2)
    assert card.lasted.estimate == pytest.approx((8 * 3 + 2 * 4) / (8 * 5 + 2 * 4))
    assert [frame.num_rollouts for frame in card.frames] == [10, 10, 10, 10, 8]


def test_frames_that_few_rollouts_reach_are_not_judged():
    imagined = np.full((10, 3), 0.5)
    imagined[2:, 2] = np.nan
    errors = RolloutErrors(seconds=(1.0, 2.0, 3.0), imagined=imagined, copied=np.ones((10, 3)), late=np.ones((10, 3)))
    assert len(rollout_card(errors, np.random.default_rng(0)).frames) == 2


def test_rollouts_are_of_whole_episodes_the_longest_first():
    episodes = [replace(episode, length=20 + episode.index) for episode in held_out()]
    rolled = choose_rollouts(episodes, AHEAD, 3, np.random.default_rng(0))
    assert len(rolled) == 3
    assert all(episode.kind != "branch" for episode in rolled)
    assert [e.length for e in rolled] == sorted((e.length for e in rolled), reverse=True)
    assert choose_rollouts(episodes, 30, 3, np.random.default_rng(0)) == []
