"""Test-time computation: propose, score, and where the scores are not good enough, simulate and revise (SPEC.md section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import GateConfig
from tau0.contract import Choice
from tau0.plan.budget import Budget, Stopwatch
from tau0.plan.noise import QueryNoise
from tau0.plan.score import redenoising_consistency, shared_noise
from tau0.policy.policy import Policy
from tau0.simulate.simulator import Simulator
from tau0.tensors import Conditioning, Futures, Proposals

Mode = Literal["single", "rcs", "full"]
Executable = Callable[[Float[Tensor, "n ha da"]], Float[Tensor, "n ha da"]]


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of proposals and what was found out about them; `scores` of shape (n,)."""

    proposals: Proposals
    scores: Float[Tensor, " n"] | None = None
    futures: Futures | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the planner decided, in normalised units.

    Attributes:
        first: The first round.
        choice: Which rule picked the chunk.
        chosen: Its index, in the revision when `choice` is "revised", otherwise in the first round.
        steps: How many of its steps to execute.
        gate_passed: None where the mode has no gate.
        revision: The round conditioned on the most promising future; None unless it happened.
        peak: Step of the chosen chunk's highest progress (see `most_promising`); None where nothing was simulated.
    """

    first: Round
    choice: Choice
    chosen: int
    steps: int
    gate_passed: bool | None = None
    revision: Round | None = None
    peak: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """How the planner plans.

    Attributes:
        mode: "single": one candidate. "rcs": the most consistent of several. "full": the same, and simulation where the gate fails.
        gate: Threshold, and how scores are taken. Mode "rcs" ignores the threshold.
        num_candidates: Chunks a round; mode "single" proposes one.
        execute_steps: Most steps executed before the next query.
        min_steps: Fewest steps executed of a chunk that is truncated at its peak.
        budget_ms: Time for one query. Candidates are always proposed and scored; simulation and revision only begin when they are
            expected to end in time, and the best answer so far is executed otherwise. None for no limit.
    """

    mode: Mode
    gate: GateConfig
    num_candidates: int
    execute_steps: int
    min_steps: int
    budget_ms: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode is {self.mode!r}, expected one of {get_args(Mode)}")
        if self.num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {self.num_candidates}")
        if not 1 <= self.min_steps <= self.execute_steps:
            raise ValueError(f"need 1 <= min_steps <= execute_steps, got {self.min_steps} and {self.execute_steps}")


class Planner:
    """The algorithm, on anything that proposes and anything that imagines. Between queries it keeps how long stages take."""

    def __init__(self, policy: Policy, simulator: Simulator | None, config: PlannerConfig) -> None:
        if config.mode == "full" and simulator is None:
            raise ValueError("mode 'full' needs a simulator; this checkpoint has none, so use mode 'rcs'")
        self._policy = policy
        self._simulator = simulator
        self._config = config
        self._budget = Budget(config.budget_ms)

    @torch.inference_mode()
    def plan(self, conditioning: Conditioning, noise: QueryNoise, executable: Executable, watch: Stopwatch) -> Plan:
        """What to execute now.

        Args:
            conditioning: The encoded observation.
            noise: The query's randomness.
            executable: Candidates to what the robot would make of them (its limits): that is what is simulated.
            watch: Running since the query began; is told the stages "propose", "score", "simulate" and "revise".
        """
        plan = self._plan(conditioning, noise, executable, watch)
        self._budget.learn(watch)
        return plan

    def _plan(self, conditioning: Conditioning, noise: QueryNoise, executable: Executable, watch: Stopwatch) -> Plan:
        config = self._config
        with watch.stage("propose"):
            num_candidates = 1 if config.mode == "single" else config.num_candidates
            first = Round(proposals=self._policy.propose(conditioning, num_candidates, noise.stream("propose")))
        if config.mode == "single":
            return Plan(first=first, choice="single", chosen=0, steps=config.execute_steps)

        with watch.stage("score"):
            scores = self._score(first.proposals, noise)
        first, most_consistent = replace(first, scores=scores), best_index(scores)
        passed = None if config.mode == "rcs" else bool(scores[most_consistent] >= config.gate.threshold)
        if passed is not False or not self._budget.allows("simulate", watch):
            return Plan(first=first, choice="rcs", chosen=most_consistent, steps=config.execute_steps, gate_passed=passed)

        with watch.stage("simulate"):
            first = self._imagine(first, conditioning, noise, executable)
        best, promise, peak = most_promising(first, config.gate.margin)
        plan = Plan(first=first, choice="simulated", chosen=best, steps=self._until(peak), gate_passed=False, peak=peak)
        if not self._budget.allows("revise", watch):
            return plan

        with watch.stage("revise"):
            revision = self._revise(first, best, conditioning, noise, executable)
        plan = replace(plan, revision=revision)
        revised, revised_promise, revised_peak = most_promising(revision, config.gate.margin)
        if revised_promise > promise + config.gate.margin:
            plan = replace(plan, choice="revised", chosen=revised, steps=self._until(revised_peak), peak=revised_peak)
        return plan

    def _until(self, peak: int) -> int:
        """Steps to execute of a chunk whose progress peaks at step `peak`, counted from 0."""
        return min(max(peak + 1, self._config.min_steps), self._config.execute_steps)

    def _score(self, proposals: Proposals, noise: QueryNoise) -> Float[Tensor, " n"]:
        """Step 2. Both rounds and all candidates are scored with the same noise."""
        gate, actions = self._config.gate, proposals.actions
        sigmas = [sigma for sigma in gate.sigmas for _ in range(gate.num_noises)]
        shared = shared_noise(len(gate.sigmas), gate.num_noises, (actions.shape[1], actions.shape[2]), noise.stream("score")).to(actions)
        return redenoising_consistency(self._policy.velocity(proposals), actions, shared, sigmas)

    def _imagine(self, candidates: Round, conditioning: Conditioning, noise: QueryNoise, executable: Executable) -> Round:
        """Step 4. Both rounds are imagined from the same noise, so that their progress compares."""
        assert self._simulator is not None
        actions = executable(candidates.proposals.actions)
        futures = self._simulator.imagine(conditioning, actions, noise.stream("simulate"))
        return replace(candidates, futures=futures)

    def _revise(self, first: Round, best: int, conditioning: Conditioning, noise: QueryNoise, executable: Executable) -> Round:
        """Step 5: proposes again from the best candidate's partially denoised future, and checks the answer like the first.

        The whole round is imagined, and its best judged by the same rule as the first round's: what is executed then promises
        at least as much progress as everything else that was considered.
        """
        futures = first.futures
        assert futures is not None
        future = futures.partial[best : best + 1]
        generator = noise.stream("revise")
        proposals = self._policy.propose(conditioning, self._config.num_candidates, generator, future, futures.partial_sigma)
        return self._imagine(Round(proposals=proposals, scores=self._score(proposals, noise)), conditioning, noise, executable)


def most_promising(candidates: Round, margin: float = 0.0) -> tuple[int, float, int]:
    """The candidate whose progress rises highest (`J_i = max over steps`): its index, its J, and the step of its peak.

    Progress that differs by no more than `margin` is the same: of candidates that promise the same the more consistent one is taken,
    and the last of steps that are as high is the peak.
    """
    assert candidates.futures is not None
    assert candidates.scores is not None
    progress = candidates.futures.progress
    promises, scores = _rankable(progress.amax(dim=1)), _rankable(candidates.scores)
    least = max(promises) - margin
    best = max((i for i, promise in enumerate(promises) if promise >= least), key=lambda i: (scores[i], promises[i]))
    as_high = progress[best] >= promises[best] - margin
    return best, promises[best], int(as_high.nonzero().amax()) if as_high.any() else 0


def best_index(values: Float[Tensor, " n"]) -> int:
    """The index of the highest value, the first of equals. What is not a number is worse than anything."""
    ranks = _rankable(values)
    return ranks.index(max(ranks))


def _rankable(values: Float[Tensor, " n"]) -> list[float]:
    return values.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).tolist()
