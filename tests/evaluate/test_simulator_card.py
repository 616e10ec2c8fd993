"""The report card in a world of our own making."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from fake_simulators import CHANNELS, HORIZON, Knows, World, held_out
from rich.console import Console

from tau0.checkpoint import Checkpoint
from tau0.evaluate.simulator_card import CardSpec, measure_simulator
from tau0.evaluate.simulator_table import simulator_table
from tau0.evaluate.simulator_windows import choose_windows, derangement, next_in_group, window_errors
from tau0.evaluate.statistics import clustered_interval


def card_of(checkpoint: Checkpoint, simulator: Knows, **spec: Any):
    episodes = held_out()
    return measure_simulator(
        replace(checkpoint, simulator=cast(Any, simulator)), World(episodes).gather, episodes, CardSpec(per_kind=12, batch=5, **spec)
    )


def test_perfect_simulator_is_perfect_and_depends_on_actions(checkpoint: Checkpoint):
    card = card_of(checkpoint, Knows(), has_pictures=True)
    assert card.picture is not None
    for future in (card.future, card.picture):
        for interval in (future.everywhere, future.moving, future.on_what_moves, *future.by_kind.values()):
            assert interval.estimate == pytest.approx(1.0, abs=1e-4)
    assert card.actions.swapped.estimate > 10
    assert card.actions.same_state is not None
    assert card.actions.same_state.estimate > 10


def test_progress_ranks_branches_of_one_state(checkpoint: Checkpoint):
    progress = card_of(checkpoint, Knows()).progress
    assert progress.ranking is not None
    assert progress.top is not None
    assert (progress.ranking.estimate, progress.top.estimate, progress.num_groups) == (1.0, 1.0, 2)
    assert progress.top_by_chance == pytest.approx(1 / 3)
    assert progress.auroc_late is not None
    assert 0 <= progress.auroc_late.estimate <= 1


def test_copying_gains_nothing(checkpoint: Checkpoint):
    card = card_of(checkpoint, Knows(copies=True))
    assert card.future.everywhere.estimate == pytest.approx(0.0, abs=1e-5)
    assert card.future.on_what_moves.estimate == pytest.approx(0.0, abs=1e-5)
    assert card.actions.swapped.estimate == pytest.approx(0.0, abs=1e-5)


def test_simulator_that_ignores_actions_is_found_out(checkpoint: Checkpoint):
    actions = card_of(checkpoint, Knows(knows_actions=False)).actions
    assert actions.same_state is not None
    assert (actions.swapped.estimate, actions.moving.estimate, actions.same_state.estimate) == (0.0, 0.0, 0.0)


def test_card_does_not_depend_on_the_batch_and_repeats(checkpoint: Checkpoint):
    episodes = held_out()
    cards = [
        measure_simulator(checkpoint, World(episodes).gather, episodes, CardSpec(per_kind=6, batch=size, rollouts=2)) for size in (4, 4, 7)
    ]
    assert cards[0] == cards[1]
    assert cards[2].future.everywhere.estimate == pytest.approx(cards[0].future.everywhere.estimate, rel=1e-4)
    assert cards[2].actions.swapped.estimate == pytest.approx(cards[0].actions.swapped.estimate, abs=1e-4)


def test_card_as_json_and_as_a_table(checkpoint: Checkpoint):
    card = card_of(checkpoint, Knows())
    read = json.loads(card.to_json())
    assert read["num_windows"] == {"demonstration": 12, "failure": 12, "branch": 6}
    assert read["num_episodes"] == 5
    assert 0 < read["num_moving"] < 30
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as shown:
        console.print(simulator_table(card, "simulator"))
    assert "100%" in shown.get()
    assert "≥ 25%" in shown.get()


def test_windows_are_whole_and_branches_come_in_groups():
    episodes = held_out()
    windows = choose_windows(episodes, HORIZON - 1, 4, np.random.default_rng(0))
    assert all(row + HORIZON <= e.stop and row >= e.start for row, e in zip(windows.rows.tolist(), windows.episodes, strict=True))
    assert [int((windows.kinds == kind).sum()) for kind in ("demonstration", "failure", "branch")] == [4, 4, 6]
    branches = windows.kinds == "branch"
    assert len(np.unique(windows.states[branches])) == 2
    assert set(windows.families[branches]) == {0, 1}
    with pytest.raises(ValueError, match="longer than the 50 steps"):
        choose_windows(episodes, 50, 4, np.random.default_rng(0))


@pytest.mark.parametrize("num", [2, 3, 17])
def test_derangement_leaves_nothing_in_place(num: int):
    order = derangement(num, np.random.default_rng(num))
    assert sorted(order) == list(range(num))
    assert not (order == np.arange(num)).any()


def test_next_in_group_stays_in_the_group():
    groups = np.array([4, 1, 4, 2, 4])
    assert next_in_group(groups).tolist() == [2, 1, 4, 3, 0]


def test_missing_camera_does_not_count():
    generator = torch.Generator().manual_seed(0)
    current, future = torch.randn(2, CHANNELS, 1, 2, 4, generator=generator), torch.randn(2, CHANNELS, 2, 2, 4, generator=generator)
    columns = torch.tensor([[True, True, False, False]] * 2)
    predicted = torch.zeros_like(future)
    spoiled = predicted.clone()
    spoiled[..., 2:] = 100.0
    for name in ("everywhere", "on_what_moves", "last"):
        errors = [getattr(window_errors(p, future, current, columns), name) for p in (predicted, spoiled)]
        assert (errors[0] == errors[1]).all()
    assert window_errors(predicted, future, current, columns).everywhere == pytest.approx(
        future[..., :2].square().mean(dim=(1, 2, 3, 4)).numpy()
    )


def test_clustered_interval_is_wider_when_clusters_are_alike():
    values = np.repeat(np.random.default_rng(0).normal(size=10), 20)
    alone = clustered_interval(lambda at: float(values[at].mean()), np.arange(200), np.random.default_rng(1), num_resamples=500)
    together = clustered_interval(
        lambda at: float(values[at].mean()), np.repeat(np.arange(10), 20), np.random.default_rng(1), num_resamples=500
    )
    assert alone.estimate == together.estimate
    assert together.high - together.low > 2 * (alone.high - alone.low)
    with pytest.raises(ValueError, match="do not define"):
        clustered_interval(lambda _at: float("nan"), [0, 1], np.random.default_rng(0))
