"""Which candidate each selector takes, from the same proposals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_policy import DIM, HORIZON, FakePolicy, FakeSimulator, conditioning, curve
from torch import Tensor

from tau0.actions import ActionCodec, Normaliser
from tau0.checkpoint import GateConfig
from tau0.plan.budget import Stopwatch
from tau0.plan.motion import chunk_motion
from tau0.plan.noise import QueryNoise
from tau0.plan.planner import Plan, Planner, PlannerConfig
from tau0.plan.selectors import SELECTORS, Mode, Round, medoid, most_consistent, moving, random_sample
from tau0.tensors import Proposals
from tiny import EMBODIMENT, tiny_config

NOISE = QueryNoise(seed=1, step=16)
NUM = 4


def candidates(actions: Tensor, scores: list[float] | None = None) -> Round:
    proposals = Proposals(actions=actions, keys_values=(), state=torch.zeros(1, DIM))
    return Round(proposals=proposals, scores=None if scores is None else torch.tensor(scores))


def decide(mode: Mode, motion: list[float] | None = None, noise: QueryNoise = NOISE, still_below: float = 0.1) -> Plan:
    """On fakes: candidate 2 is the most consistent, candidate 1 promises most."""
    policy = FakePolicy([[2.0, 1.5, 1.0, 3.0][: 1 if mode == "single" else NUM]] * 2)
    simulator = FakeSimulator([[curve(0.1, 3), curve(0.6, 4), curve(0.2, 5), curve(0.4, 6)], [curve(0.7, 5)] * NUM])
    config = PlannerConfig(
        mode=mode, gate=GateConfig(threshold=0.0), num_candidates=NUM, execute_steps=7, min_steps=2, still_below=still_below
    )
    moved = None if motion is None else lambda _actions: torch.tensor(motion)
    return Planner(policy, simulator, config).plan(conditioning(), noise, lambda actions: actions, Stopwatch(), moved)


def test_all_selectors_see_the_same_proposals() -> None:
    plans = {mode: decide(mode) for mode in SELECTORS}
    for mode, plan in plans.items():
        assert torch.equal(plan.first.proposals.actions[0], plans["single"].first.proposals.actions[0]), mode
        if mode != "single":
            assert torch.equal(plan.first.proposals.actions, plans["rcs"].first.proposals.actions), mode
    assert [plans[mode].chosen for mode in ("single", "rcs", "progress", "unrevised")] == [0, 2, 1, 1]
    assert [plans[mode].choice for mode in SELECTORS] == ["single", "random", "medoid", "rcs", "simulated", "simulated", "revised"]


def test_progress_alone_needs_no_scores_and_executes_as_many_steps_as_the_first_sample() -> None:
    plan = decide("progress")
    assert plan.first.scores is None
    assert (plan.steps, plan.peak, plan.gate_passed, plan.revision) == (7, 4, None, None)
    unrevised = decide("unrevised")
    assert (unrevised.steps, unrevised.gate_passed, unrevised.revision) == (5, False, None)


def test_the_medoid_is_the_candidate_in_the_middle() -> None:
    line = torch.tensor([0.0, 9.0, 5.0, 4.0, 3.0]).reshape(-1, 1, 1).expand(-1, HORIZON, DIM)
    assert medoid(candidates(line), NOISE) == 3
    assert medoid(candidates(line[[3, 0, 1, 2, 4]]), NOISE) == 0


def test_a_random_sample_follows_from_the_query_alone_and_takes_every_candidate_at_times() -> None:
    actions = torch.zeros(NUM, HORIZON, DIM)
    picked = [random_sample(candidates(actions), QueryNoise(seed=3, step=step)) for step in range(60)]
    assert picked == [random_sample(candidates(actions), QueryNoise(seed=3, step=step)) for step in range(60)]
    assert set(picked) == set(range(NUM))


def test_a_candidate_that_stands_still_among_moving_ones_cannot_win() -> None:
    still = [1.0, 1.2, 0.01, 0.9]
    assert decide("rcs").chosen == 2
    assert decide("rcs", still).chosen == 1
    assert decide("rcs", still, still_below=0.0).chosen == 2
    assert decide("rcs", [0.5, 0.01, 0.01, 0.01]).chosen == 2
    assert decide("progress", [1.0, 0.01, 1.2, 0.9]).chosen == 3
    assert decide("single", [0.0]).chosen == 0


def test_where_most_wait_waiting_may_win() -> None:
    motion = torch.tensor([0.0, 0.0, 0.0, 2.0, 2.0])
    assert moving(motion, 0.5).all()
    assert moving(torch.tensor([1.0, 0.04, 0.06, 1.1]), 0.1).tolist() == [True, True, True, True]
    assert moving(torch.tensor([1.0, 0.04, 0.9, 1.1, 1.0]), 0.1).tolist() == [True, False, True, True, True]
    for seed in range(5):
        drawn = torch.rand(9, generator=torch.Generator().manual_seed(seed))
        assert int(moving(drawn, 1.0).sum()) >= 5


def test_a_gate_is_not_passed_by_a_candidate_that_may_not_win() -> None:
    rules = candidates(torch.zeros(NUM, HORIZON, DIM), [-4.0, -2.0, -0.1, -3.0])
    guarded = replace(rules, is_moving=torch.tensor([True, True, False, True]))
    assert (most_consistent(rules, NOISE), most_consistent(guarded, NOISE)) == (2, 1)


@pytest.mark.parametrize("named_like_the_state", [False, True])
def test_motion_is_measured_from_where_the_robot_stays(named_like_the_state: bool) -> None:
    config, state = tiny_config(), torch.tensor([0.2, -0.1, 0.3, 0.9])
    if named_like_the_state:
        action = replace(EMBODIMENT.action, names=EMBODIMENT.state_names)
        config = replace(config, embodiment=replace(EMBODIMENT, action=action))
    rest = state if named_like_the_state else torch.zeros(4)
    gripper_only = rest.clone()
    gripper_only[3] = -1.0
    robot = torch.stack([rest.expand(9, 4), gripper_only.expand(9, 4), (rest + 0.2).expand(9, 4), (rest + 0.4).expand(9, 4)])
    normalised = config.codec.encode(robot, state.expand(4, -1))
    motion = chunk_motion(config, normalised, state, steps=8)
    assert motion[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert float(motion[3]) == pytest.approx(2 * float(motion[2]), rel=1e-4)
    late = robot.clone()
    late[0, 8] = rest + 0.5
    assert float(chunk_motion(config, config.codec.encode(late, state.expand(4, -1)), state, steps=8)[0]) == pytest.approx(0.0, abs=1e-6)


def test_motion_of_relative_actions_is_zero_at_the_state() -> None:
    identity = Normaliser(mean=(0.1,) * 4, std=(0.5,) * 4)
    codec = ActionCodec(action=identity, state=identity, reference="relative", grippers=(3,))
    config, state = replace(tiny_config(), codec=codec), torch.tensor([0.2, -0.1, 0.3, 0.9])
    robot = torch.stack([state.expand(9, 4), (state - 0.3).expand(9, 4)])
    motion = chunk_motion(config, codec.encode(robot, state.expand(2, -1)), state, steps=8)
    assert float(motion[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(motion[1]) == pytest.approx(0.6, rel=1e-4)


def test_displacements_move_whatever_their_codec_leaves_as_it_is() -> None:
    """A mixture's codec is relative and measures no number of Meta-World's from the state, so that standing still is still zero."""
    identity = Normaliser(mean=(0.0,) * 4, std=(0.5,) * 4)
    codec = ActionCodec(action=identity, state=identity, reference="relative", grippers=(0, 1, 2, 3))
    config, state = replace(tiny_config(), codec=codec), torch.tensor([0.2, -0.1, 0.3, 0.9])
    robot = torch.stack([torch.zeros(9, 4), torch.full((9, 4), 0.25)])
    motion = chunk_motion(config, codec.encode(robot, state.expand(2, -1)), state, steps=8)
    assert motion.tolist() == pytest.approx([0.0, 0.5], abs=1e-4)
