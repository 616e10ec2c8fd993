"""The algorithm of SPEC.md section 6, on fakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_policy import DIM, HORIZON, FakePolicy, FakeSimulator, conditioning, curve
from torch import Tensor

from tau0.checkpoint import GateConfig
from tau0.plan.budget import Stopwatch
from tau0.plan.noise import QueryNoise
from tau0.plan.planner import Plan, Planner, PlannerConfig
from tau0.plan.score import redenoising_consistency, relative_to_motion, shared_noise
from tau0.plan.selectors import Mode, best_index

NAN = float("nan")
NOISE = QueryNoise(seed=1, step=16)


def planner_config(mode: Mode = "full", threshold: float = -0.5, margin: float = 0.0) -> PlannerConfig:
    return PlannerConfig(mode=mode, gate=GateConfig(threshold=threshold, margin=margin), num_candidates=3, execute_steps=7, min_steps=2)


def as_they_are(actions: Tensor) -> Tensor:
    return actions


def run(policy: FakePolicy, simulator: FakeSimulator | None, mode: Mode = "full", noise: QueryNoise = NOISE, margin: float = 0.0) -> Plan:
    return Planner(policy, simulator, planner_config(mode, margin=margin)).plan(conditioning(), noise, as_they_are, Stopwatch())


def test_single_mode_executes_its_one_candidate_unscored() -> None:
    plan = run(FakePolicy([[0.0]]), None, "single")
    assert (plan.choice, plan.chosen, plan.steps, plan.gate_passed, plan.peak) == ("single", 0, 7, None, None)
    assert plan.first.scores is None
    assert len(plan.first.proposals.actions) == 1


def test_rcs_mode_executes_the_most_consistent() -> None:
    plan = run(FakePolicy([[2.0, 1.0, 3.0]]), None, "rcs")
    assert (plan.choice, plan.chosen, plan.steps, plan.gate_passed) == ("rcs", 1, 7, None)
    assert plan.first.scores is not None
    torch.testing.assert_close(plan.first.scores, torch.tensor([-4.0, -1.0, -9.0]), atol=1e-5, rtol=0)


def test_a_passed_gate_simulates_nothing() -> None:
    simulator = FakeSimulator([])
    plan = run(FakePolicy([[2.0, 0.1, 3.0]]), simulator)
    assert (plan.choice, plan.chosen, plan.steps, plan.gate_passed) == ("rcs", 1, 7, True)
    assert not simulator.asked
    assert plan.revision is None


def test_a_failed_gate_simulates_and_keeps_a_better_revision() -> None:
    policy = FakePolicy([[2.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
    simulator = FakeSimulator([[curve(0.1, 3), curve(0.2, 8), curve(0.4, 5)], [curve(0.3, 1), curve(0.5, 4), curve(0.2, 6)]])
    plan = run(policy, simulator)
    assert (plan.choice, plan.chosen, plan.peak, plan.steps, plan.gate_passed) == ("revised", 1, 4, 5, False)
    assert policy.futures[0] is None
    assert policy.futures[1] is not None
    assert policy.futures[1].unique().tolist() == [102.0]
    assert policy.sigmas == [1.0, 0.2]
    assert torch.equal(*simulator.noises)


@pytest.mark.parametrize("promise", [0.4, 0.3])
def test_a_revision_that_promises_no_more_is_dropped(promise: float) -> None:
    simulator = FakeSimulator([[curve(0.1, 3), curve(0.2, 8), curve(0.4, 5)], [curve(promise, 1)] * 3])
    plan = run(FakePolicy([[2.0, 1.0, 3.0], [0.0, 0.0, 0.0]]), simulator)
    assert (plan.choice, plan.chosen, plan.peak, plan.steps) == ("simulated", 2, 5, 6)
    assert plan.revision is not None
    assert plan.revision.scores is not None


@pytest.mark.parametrize(("peak", "steps"), [(0, 2), (1, 2), (2, 3), (6, 7), (8, 7)])
def test_the_chunk_ends_at_its_own_peak_within_bounds(peak: int, steps: int) -> None:
    simulator = FakeSimulator([[curve(0.1, 4), curve(0.4, peak), curve(0.2, 5)], [curve(-0.5, 3)] * 3])
    plan = run(FakePolicy([[2.0] * 3] * 2), simulator)
    assert (plan.choice, plan.chosen, plan.peak, plan.steps) == ("simulated", 1, peak, steps)


def test_of_equal_promises_the_more_consistent_wins() -> None:
    simulator = FakeSimulator([[curve(0.9, 3), curve(1.0, 8), curve(1.0, 5)], [curve(1.0, 1)] * 3])
    plan = run(FakePolicy([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]), simulator)
    assert (plan.choice, plan.chosen, plan.peak) == ("simulated", 2, 5)


@pytest.mark.parametrize(("margin", "chosen"), [(0.05, 2), (0.15, 0), (0.5, 1)])
def test_within_the_margin_the_more_consistent_wins(margin: float, chosen: int) -> None:
    simulator = FakeSimulator([[curve(0.3, 3), curve(0.1, 8), curve(0.4, 5)], [curve(0.44, 1)] * 3])
    plan = run(FakePolicy([[2.0, 1.0, 3.0], [0.0, 0.0, 0.0]]), simulator, margin=margin)
    assert (plan.choice, plan.chosen) == ("simulated", chosen)


def test_a_revision_must_exceed_the_first_round_by_more_than_the_margin() -> None:
    def chosen_by(margin: float) -> str:
        simulator = FakeSimulator([[curve(0.1, 3)] * 3, [curve(0.4, 5)] * 3])
        return run(FakePolicy([[2.0] * 3] * 2), simulator, margin=margin).choice

    assert (chosen_by(0.2), chosen_by(0.35)) == ("revised", "simulated")


def test_the_peak_is_the_last_step_that_is_as_high() -> None:
    def steps(margin: float) -> int:
        falling = [0.5, 0.48, 0.46, 0.3, 0.2] + [0.0] * (HORIZON - 5)
        return run(FakePolicy([[2.0] * 3] * 2), FakeSimulator([[falling] * 3] * 2), margin=margin).steps

    assert [steps(margin) for margin in (0.0, 0.05, 0.25, 0.35, 0.6)] == [2, 3, 4, 5, 7]


def test_what_is_simulated_is_what_the_robot_can_execute() -> None:
    simulator = FakeSimulator([[curve(0.1, 4)] * 3] * 2)
    planner = Planner(FakePolicy([[2.0] * 3] * 2), simulator, planner_config())
    planner.plan(conditioning(), NOISE, lambda actions: actions.clamp(-0.1, 0.1), Stopwatch())
    assert all(float(asked.abs().max()) <= 0.1 + 1e-6 for asked in simulator.asked)


def test_scores_that_are_not_numbers_never_win_and_never_pass() -> None:
    assert run(FakePolicy([[NAN, 1.0, 2.0]]), None, "rcs").chosen == 1
    assert best_index(torch.tensor([NAN, NAN])) == 0
    assert best_index(torch.tensor([-torch.inf, NAN, -5.0])) == 2
    simulator = FakeSimulator([[curve(0.1, 4), [NAN] * HORIZON, curve(0.3, 5)], [[NAN] * HORIZON] * 3])
    plan = run(FakePolicy([[NAN] * 3, [NAN] * 3]), simulator)
    assert (plan.gate_passed, plan.choice, plan.chosen) == (False, "simulated", 2)


def test_modes_and_queries_share_noise_only_where_they_should() -> None:
    def first(mode: Mode, noise: QueryNoise) -> Tensor:
        return run(FakePolicy([[0.0] * (1 if mode == "single" else 3)]), FakeSimulator([]), mode, noise).first.proposals.actions[0]

    same = [first(mode, NOISE) for mode in ("single", "rcs", "full")]
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], same[2])
    for other in (QueryNoise(seed=2, step=16), QueryNoise(seed=1, step=24)):
        assert not torch.equal(same[0], first("single", other))


def test_permuting_candidates_permutes_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates = torch.randn(5, HORIZON, DIM, generator=generator)
    noise, order = torch.randn(2, HORIZON, DIM, generator=generator), torch.tensor([3, 1, 4, 0, 2])

    def velocity(noisy: Tensor, sigma: float) -> Tensor:
        return torch.tanh(noisy.cumsum(1) * sigma)

    scores = redenoising_consistency(velocity, candidates, noise, (0.6, 0.3))
    torch.testing.assert_close(redenoising_consistency(velocity, candidates[order], noise, (0.6, 0.3)), scores[order])
    alone = torch.cat([redenoising_consistency(velocity, one, noise, (0.6, 0.3)) for one in candidates.split(1)])
    torch.testing.assert_close(scores, alone)


def test_relative_scores_compare_errors_with_squared_motion() -> None:
    policy, config = FakePolicy([[2.0, 1.0, 3.0]]), planner_config("rcs")
    planner = Planner(policy, None, replace(config, gate=replace(config.gate, error="relative")))
    motion = torch.tensor([4.0, 1.0, 0.0])
    plan = planner.plan(conditioning(), NOISE, as_they_are, Stopwatch(), lambda _actions: motion)
    assert plan.first.scores is not None
    torch.testing.assert_close(plan.first.scores, torch.tensor([-4 / 20, -1 / 2, -1.0]), rtol=1e-4, atol=1e-4)
    assert relative_to_motion(torch.zeros(2), torch.tensor([0.0, 3.0])).tolist() == [0.0, 0.0]
    assert (plan.choice, plan.chosen) == ("rcs", 0)
    policy.rounds = 0
    with pytest.raises(ValueError, match="relative scores need the motion of candidates"):
        planner.plan(conditioning(), NOISE, as_they_are, Stopwatch())


def test_a_revision_is_scored_as_the_first_round_is() -> None:
    policy, config = FakePolicy([[2.0, 1.0, 3.0], [1.0, 2.0, 3.0]]), planner_config(threshold=1.0)
    simulator = FakeSimulator([[curve(0.1, 3), curve(0.2, 8), curve(0.4, 5)], [curve(0.3, 1), curve(0.5, 4), curve(0.2, 6)]])
    planner = Planner(policy, simulator, replace(config, gate=replace(config.gate, error="relative")))
    plan = planner.plan(conditioning(), NOISE, as_they_are, Stopwatch(), lambda _actions: torch.tensor([2.0, 1.0, 1.0]))
    assert plan.revision is not None
    assert plan.revision.scores is not None
    torch.testing.assert_close(plan.revision.scores, torch.tensor([-1 / 5, -4 / 5, -9 / 10]), atol=1e-4, rtol=1e-4)


def test_a_mode_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="simulator"):
        Planner(FakePolicy([]), None, planner_config("full"))
    with pytest.raises(ValueError, match="'both'"):
        planner_config("both")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="num_candidates"):
        PlannerConfig(mode="rcs", gate=GateConfig(threshold=0.0), num_candidates=0, execute_steps=4, min_steps=1)
    with pytest.raises(ValueError, match="min_steps"):
        PlannerConfig(mode="rcs", gate=GateConfig(threshold=0.0), num_candidates=1, execute_steps=4, min_steps=5)


def test_noises_of_one_level_are_scored_together_as_they_would_be_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates, noise = torch.randn(3, HORIZON, DIM, generator=generator), torch.randn(5, HORIZON, DIM, generator=generator)
    sigmas, calls = (0.6, 0.3, 0.6, 0.6, 0.3), []

    def velocity(noisy: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return (noisy * 1.7 + sigma).sin()

    together = redenoising_consistency(velocity, candidates, noise, sigmas)
    assert calls == [0.6, 0.3]
    each = [redenoising_consistency(velocity, candidates, eps[None], (sigma,)) for eps, sigma in zip(noise, sigmas, strict=True)]
    torch.testing.assert_close(together, torch.stack(each).mean(dim=0))
    with pytest.raises(ValueError, match="5 noises need as many levels, got 2"):
        redenoising_consistency(velocity, candidates, noise, (0.6, 0.3))


def test_score_noise_comes_in_opposite_pairs_level_by_level() -> None:
    noise = shared_noise(2, 3, (HORIZON, DIM), torch.Generator().manual_seed(0)).unflatten(0, (2, 3))
    torch.testing.assert_close(noise[:, 1], -noise[:, 0])
    assert not torch.allclose(noise[:, 2].abs(), noise[:, 0].abs())
    assert not torch.allclose(noise[0], noise[1])


def test_only_the_most_consistent_candidates_are_simulated_where_futures_are_few() -> None:
    policy = FakePolicy([[2.0, 3.0, 1.0], [1.0, 2.0, 3.0]])
    simulator = FakeSimulator([[curve(0.1, 3), curve(0.4, 5)], [curve(0.2, 1), curve(0.3, 4)]])
    planner = Planner(policy, simulator, replace(planner_config(), num_futures=2))
    plan = planner.plan(conditioning(), NOISE, as_they_are, Stopwatch())
    assert plan.first.imagined == (0, 2)
    assert (plan.choice, plan.chosen, plan.peak) == ("simulated", 2, 5)
    assert plan.revision is not None
    assert (len(plan.revision), plan.revision.imagined) == (3, (0, 1))
    assert torch.equal(simulator.asked[0], plan.first.proposals.actions[[0, 2]])
    with pytest.raises(ValueError, match="num_futures must be at least 1, got 0"):
        replace(planner_config(), num_futures=0)
