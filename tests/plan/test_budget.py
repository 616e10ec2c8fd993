"""A budget on a clock that only moves when the fakes work."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from fake_policy import DIM, HORIZON, FakePolicy, conditioning, curve
from torch import Tensor

from tau0.checkpoint import GateConfig
from tau0.plan.budget import Allowance, StageCost, Stopwatch, Timings
from tau0.plan.noise import QueryNoise
from tau0.plan.planner import Plan, Planner, PlannerConfig
from tau0.plan.selectors import Mode
from tau0.plan.timings import REPEATS, measure_timings
from tau0.policy.policy import ActionVelocity
from tau0.tensors import Conditioning, Futures, Proposals

STEPS, RANK_STEPS, MOST = 4, 5, 6
PROPOSE = StageCost(fixed_ms=10, step_ms=2, each_ms=1)
SCORE = StageCost(step_ms=1, each_ms=1)
SIMULATE = StageCost(step_ms=4, each_ms=4)
TIMINGS = Timings(propose=PROPOSE, score=SCORE, simulate=SIMULATE, action_steps=STEPS, simulator_steps=RANK_STEPS)
NOISE = QueryNoise(seed=1, step=16)


@dataclass
class Clock:
    """Seconds that pass when somebody works; `pace` times as many as usual."""

    now: float = 0.0
    pace: float = 1.0

    def __call__(self) -> float:
        return self.now

    def work(self, milliseconds: float) -> None:
        self.now += self.pace * milliseconds / 1000


@dataclass
class WorkingPolicy(FakePolicy):
    """Takes its time. Of its candidates the last is the most consistent."""

    clock: Clock = field(default_factory=Clock)

    def propose(
        self,
        conditioning: Conditioning,
        num_candidates: int,
        generator: torch.Generator,
        future: Tensor | None = None,
        future_sigma: float = 1.0,
        num_steps: int | None = None,
    ) -> Proposals:
        self.clock.work(PROPOSE.of(num_candidates, num_steps or STEPS))
        proposals = super().propose(conditioning, num_candidates, generator, future, future_sigma, num_steps)
        self.errors = [[float(num_candidates - i) for i in range(num_candidates)]] * self.rounds
        return proposals

    def velocity(self, proposals: Proposals) -> ActionVelocity:
        self.clock.work(SCORE.of(len(proposals.actions)))
        return super().velocity(proposals)


@dataclass
class WorkingSimulator:
    """Takes its time; all candidates promise the same, those of the second round more."""

    clock: Clock
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)

    def imagine(self, conditioning: Conditioning, actions: Tensor, generator: torch.Generator, num_steps: int | None = None) -> Futures:
        self.asked.append((len(actions), num_steps))
        self.drawn.append(float(torch.rand((), generator=generator)))
        self.clock.work(SIMULATE.of(len(actions), num_steps or RANK_STEPS))
        latents = torch.zeros(len(actions), *conditioning.current.shape[1:])
        progress = torch.tensor([curve(0.1 * len(self.asked), 3)] * len(actions))
        return Futures(latents=latents, progress=progress, partial=latents, partial_sigma=0.2)


def decide(
    budget_ms: float, mode: Mode = "full", pace: float = 1.0, started_ms: float = 0.0, num_futures: int | None = None
) -> tuple[Plan, float, WorkingSimulator]:
    """The plan, the milliseconds that it took, and the simulator with its memory."""
    clock = Clock(pace=pace)
    simulator = WorkingSimulator(clock)
    config = PlannerConfig(
        mode=mode, gate=GateConfig(threshold=0.0), num_candidates=MOST, execute_steps=7, min_steps=2, budget_ms=budget_ms
    )
    planner = Planner(WorkingPolicy([], clock=clock), simulator, replace(config, num_futures=num_futures), TIMINGS)
    watch = Stopwatch(clock)
    clock.work(started_ms)
    plan = planner.plan(conditioning(), NOISE, lambda actions: actions, watch)
    return plan, watch.elapsed_ms, simulator


LEAST = PROPOSE.of(1, 1)


@pytest.mark.parametrize("mode", ["single", "random", "medoid", "rcs", "progress", "unrevised", "full"])
def test_there_is_an_answer_in_time_whatever_the_budget(mode: Mode) -> None:
    for budget_ms in range(int(LEAST), 600, 7):
        plan, taken, _ = decide(budget_ms, mode)
        assert 0 <= plan.chosen < MOST
        assert taken <= budget_ms
    plan, taken, _ = decide(0.0, mode)
    assert (plan.choice, plan.chosen, taken) == ("single" if mode not in ("random", "medoid") else mode, 0, LEAST)


def test_more_time_never_buys_less() -> None:
    counts = []
    for budget_ms in range(int(LEAST), 700, 5):
        plan, _, simulator = decide(budget_ms)
        revised = 0 if plan.revision is None else len(plan.revision)
        futures, steps = simulator.asked[0] if simulator.asked else (0, None)
        counts.append((len(plan.first), futures, steps or RANK_STEPS if futures else 0, revised))
    assert counts == sorted(counts)
    assert counts[0] == (1, 0, 0, 0)
    assert counts[-1] == (MOST, MOST, RANK_STEPS, MOST)


def test_what_is_left_out_is_said() -> None:
    assert decide(10_000.0)[0].skipped == ()
    assert "candidates: 1 of 6" in decide(LEAST)[0].skipped
    assert "solver steps of the candidates: 1 of 4" in decide(LEAST)[0].skipped
    everything_but_futures = PROPOSE.of(MOST, STEPS) + SCORE.of(MOST)
    plan, taken, simulator = decide(everything_but_futures)
    assert (plan.choice, plan.chosen, plan.gate_passed, plan.skipped) == ("rcs", MOST - 1, False, ("futures: 0 of 6",))
    assert taken == everything_but_futures
    assert not simulator.asked


def test_the_most_consistent_are_imagined_where_there_is_no_time_for_all() -> None:
    budget = PROPOSE.of(MOST, STEPS) + SCORE.of(MOST) + SIMULATE.of(3, RANK_STEPS)
    plan, _, simulator = decide(budget)
    assert simulator.asked == [(3, None)]
    assert plan.first.imagined == (3, 4, 5)
    assert (plan.choice, plan.chosen, plan.peak) == ("simulated", 5, 3)
    assert plan.skipped == ("futures: 3 of 6", "revised candidates: 0 of 6")


def test_a_revision_costs_the_futures_that_it_imagines_not_one_for_each_candidate() -> None:
    clock = Clock()
    costs = {"propose": StageCost(fixed_ms=20), "score": StageCost(fixed_ms=10), "simulate": StageCost(each_ms=15)}
    timings = Timings(**costs, action_steps=STEPS, simulator_steps=1)
    allowance = Allowance(250.0, timings, Stopwatch(clock))
    clock.work(95.0)
    assert allowance.revisions(24, None, lambda num: min(num, 4)) == 24
    assert allowance.skipped == []
    assert allowance.revisions(24, None, lambda num: num) == 8
    assert allowance.skipped == ["revised candidates: 8 of 24"]


def test_a_plan_that_imagines_few_is_revised_whole_in_the_time_that_this_takes() -> None:
    a_round = PROPOSE.of(MOST, STEPS) + SCORE.of(MOST) + SIMULATE.of(2, RANK_STEPS)
    plan, taken, simulator = decide(2 * a_round, num_futures=2)
    assert simulator.asked == [(2, None), (2, None)]
    assert plan.revision is not None
    assert (len(plan.revision), plan.skipped, taken) == (MOST, (), pytest.approx(2 * a_round))


def test_before_futures_are_given_up_they_are_made_in_fewer_steps() -> None:
    budget = PROPOSE.of(MOST, STEPS) + SCORE.of(MOST) + SIMULATE.of(2, 3)
    plan, _, simulator = decide(budget)
    assert simulator.asked == [(2, 3)]
    assert plan.skipped[:2] == ("futures: 2 of 6", "solver steps of the futures: 3 of 5")


def test_a_machine_that_has_become_slower_is_noticed_within_the_query() -> None:
    budget = 3 * (PROPOSE.of(MOST, STEPS) + SCORE.of(MOST)) + SIMULATE.of(MOST, RANK_STEPS)
    assert decide(budget)[2].asked
    plan, taken, simulator = decide(budget, pace=3.0)
    assert len(simulator.asked) == 1
    assert simulator.asked[0][0] < MOST
    assert plan.choice == "simulated"
    assert taken <= budget


def test_time_spent_before_planning_counts() -> None:
    budget = PROPOSE.of(MOST, STEPS) + SCORE.of(MOST)
    assert len(decide(budget, "rcs")[0].first) == MOST
    assert len(decide(budget, "rcs", started_ms=8.0)[0].first) < MOST


def test_without_a_limit_the_clock_does_not_matter() -> None:
    allowance = Allowance(None, None, Stopwatch(Clock()))
    assert allowance.proposals(8, True) == (8, None)
    assert allowance.has_time_to_score(8)
    assert allowance.simulations(8) == (8, None)
    assert allowance.revisions(8, None, lambda num: num) == 8
    assert allowance.skipped == []


def test_a_cost_is_found_again_from_three_measurements() -> None:
    for cost, steps in ((PROPOSE, STEPS), (SIMULATE, RANK_STEPS), (SCORE, 1)):
        found = StageCost.fitted(cost.of(1, steps), cost.of(1, 1), cost.of(MOST, steps), MOST, steps)
        assert found.of(3, steps) == pytest.approx(cost.of(3, steps))
        assert found.of(MOST, 1) == pytest.approx(cost.of(MOST, 1))
    noisy = StageCost.fitted(one=10.0, one_step=12.0, many=9.0, num_candidates=MOST, num_steps=STEPS)
    assert min(noisy.fixed_ms, noisy.step_ms, noisy.each_ms) >= 0


def test_timings_are_measured_from_the_work_itself() -> None:
    clock = Clock()
    policy, simulator = WorkingPolicy([], clock=clock), WorkingSimulator(clock)
    gate = GateConfig(threshold=0.0)
    found = measure_timings(policy, simulator, conditioning(), gate, MOST, STEPS, RANK_STEPS, lambda: Stopwatch(clock))
    for measured, true, steps in ((found.propose, PROPOSE, STEPS), (found.simulate, SIMULATE, RANK_STEPS)):
        assert measured.of(4, steps) == pytest.approx(true.of(4, steps))
    assert len(simulator.asked) == 3 * (1 + REPEATS)
    assert policy.errors[-1][0] == MOST or len(policy.errors[-1]) in (1, MOST)


def test_a_budget_that_cannot_be_is_refused() -> None:
    config = PlannerConfig(mode="rcs", gate=GateConfig(threshold=0.0), num_candidates=2, execute_steps=4, min_steps=1)
    with pytest.raises(ValueError, match="-1"):
        replace(config, budget_ms=-1.0)
    with pytest.raises(ValueError, match="needs timings"):
        Planner(FakePolicy([]), None, replace(config, budget_ms=5.0))


def test_fakes_have_the_shape_of_chunks() -> None:
    plan = decide(10_000.0)[0]
    assert plan.first.proposals.actions.shape == (MOST, HORIZON, DIM)
