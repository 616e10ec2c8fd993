"""Ranking in running physics, with a world of a point and agents that know or do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_candidates import CHUNK, GuessingAgent
from fake_closed_loop import PointWorld

from tau0.contract import Decision, Observation
from tau0.evaluate.simulator_live import LiveSpec, measure_physics, physics_card

SPEC = LiveSpec(tasks=("touch",), episodes=6, candidates=5, max_decisions=4, max_steps=40)


class Promising(GuessingAgent):
    """Its progress is the truth, or its opposite."""

    def __init__(self, sign: int) -> None:
        super().__init__(num=5, scores="true" if sign > 0 else "wrong")

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        assert decision.proposals.scores is not None
        curve = np.stack([decision.proposals.scores - 1, decision.proposals.scores], axis=1)
        return replace(decision, proposals=replace(decision.proposals, progress=curve))


class Lying(Promising):
    """Right about the steps that are tried, wrong about those after them; and of what it chooses only one step is executed."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        assert decision.proposals.progress is not None
        right = decision.proposals.progress
        curve = np.concatenate([right, right[:, -1:], 9 - 9 * right], axis=1)
        chunk = replace(decision.chunk, actions=decision.chunk.actions[:1])
        return replace(decision, chunk=chunk, proposals=replace(decision.proposals, progress=curve))


def card_of(sign: int):
    shares: list[float] = []
    card = measure_physics(Promising(sign), lambda task: PointWorld(task, 40), SPEC, CHUNK, shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    return card


def test_the_truth_ranks_as_physics_does_and_its_opposite_the_other_way():
    right, wrong = card_of(1), card_of(-1)
    assert right.progress is not None
    assert right.score is not None
    assert right.top is not None
    assert wrong.progress is not None
    assert right.progress.estimate > 0.8
    assert right.score.estimate == pytest.approx(right.progress.estimate)
    assert right.top.estimate > 0.6
    assert wrong.progress.estimate < 0.2
    assert 0 < right.num_decided <= right.num_states <= SPEC.episodes * SPEC.max_decisions
    assert right.top_by_chance is not None
    assert right.top_by_chance < 0.8


def test_belief_and_physics_are_of_the_same_steps_of_every_candidate():
    card = measure_physics(Lying(1), lambda task: PointWorld(task, 40), SPEC, CHUNK)
    assert card.progress is not None
    assert card.score is not None
    assert card.progress.estimate == pytest.approx(card.score.estimate)
    assert card.progress.estimate > 0.8


def test_candidates_that_all_end_alike_leave_nothing_to_rank():
    world = PointWorld("touch", 40)
    world.reset(0)
    decision = Promising(1).decide(world.observe())
    alike = replace(decision, proposals=replace(decision.proposals, outcomes=np.full(5, np.inf, np.float32)))
    card = physics_card([alike], [0], 5, CHUNK)
    assert (card.num_states, card.num_decided, card.progress, card.score, card.top, card.top_by_chance) == (1, 0, None, None, None, None)
