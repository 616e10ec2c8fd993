"""Test-time computation: propose, score, and where the scores are not good enough, simulate and revise (SPEC.md section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import GateConfig
from tau0.contract import Choice
from tau0.plan.budget import Allowance, Stopwatch, Timings
from tau0.plan.noise import QueryNoise
from tau0.plan.score import redenoising_consistency, relative_to_motion, shared_noise
from tau0.plan.selectors import SELECTORS, Mode, Round, best_index, first_sample, most_promising, moving, ranked
from tau0.policy.policy import Policy
from tau0.simulate.simulator import Simulator
from tau0.tensors import Conditioning

__all__ = ["Executable", "Mode", "Motion", "Plan", "Planner", "PlannerConfig", "Round", "best_index", "most_promising"]

Executable = Callable[[Float[Tensor, "n ha da"]], Float[Tensor, "n ha da"]]
Motion = Callable[[Float[Tensor, "n ha da"]], Float[Tensor, " n"]]

STILL_BELOW = 0.1
"""A candidate that moves less than this share of the median candidate's motion stands still."""


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
        skipped: What was left out for lack of time, in words.
    """

    first: Round
    choice: Choice
    chosen: int
    steps: int
    gate_passed: bool | None = None
    revision: Round | None = None
    peak: int | None = None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """How the planner plans.

    Attributes:
        mode: How a candidate is chosen: see `tau0.plan.selectors`.
        gate: Threshold, and how scores are taken. Only modes that simulate where the gate fails read the threshold.
        num_candidates: Chunks a round; mode "single" proposes one.
        num_futures: Most candidates of a round that are simulated, the most consistent ones; None for all. A future costs many times a
            candidate.
        execute_steps: Most steps executed before the next query.
        min_steps: Fewest steps executed of a chunk that is truncated at its peak.
        budget_ms: Time for one query; None for no limit. One candidate is always proposed; whatever else is expected to fit is done, and
            the best answer so far is executed (see `Allowance`).
        still_below: See `STILL_BELOW` and `moving`; 0 lets candidates that stand still win.
    """

    mode: Mode
    gate: GateConfig
    num_candidates: int
    execute_steps: int
    min_steps: int
    budget_ms: float | None = None
    still_below: float = STILL_BELOW
    num_futures: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode is {self.mode!r}, expected one of {get_args(Mode)}")
        if self.num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {self.num_candidates}")
        if self.num_futures is not None and self.num_futures < 1:
            raise ValueError(f"num_futures must be at least 1, got {self.num_futures}")
        if not 1 <= self.min_steps <= self.execute_steps:
            raise ValueError(f"need 1 <= min_steps <= execute_steps, got {self.min_steps} and {self.execute_steps}")
        if self.budget_ms is not None and self.budget_ms < 0:
            raise ValueError(f"budget_ms must be at least 0, got {self.budget_ms}")
        if not 0 <= self.still_below <= 1:
            raise ValueError(f"still_below must lie in [0, 1], got {self.still_below}")

    def futures_of(self, num_candidates: int) -> int:
        """How many of a round's candidates are simulated."""
        return num_candidates if self.num_futures is None else min(num_candidates, self.num_futures)


class Planner:
    """The algorithm, on anything that proposes and anything that imagines. Between queries it remembers nothing."""

    def __init__(self, policy: Policy, simulator: Simulator | None, config: PlannerConfig, timings: Timings | None = None) -> None:
        """A planner.

        Args:
            policy: Proposes.
            simulator: Imagines; None where the mode never simulates.
            config: How to plan.
            timings: What stages take; needed for a budget.

        Raises:
            ValueError: The mode simulates and there is no simulator, or there is a budget and nobody knows what stages take.
        """
        self._rules = SELECTORS[config.mode]
        if self._rules.simulates != "never" and simulator is None:
            raise ValueError(f"mode {config.mode!r} needs a simulator; this checkpoint has none, so use mode 'rcs'")
        if config.budget_ms is not None and timings is None:
            raise ValueError("a budget needs timings: measure them first")
        self._policy = policy
        self._simulator = simulator
        self._config = config
        self._timings = timings

    @torch.inference_mode()
    def plan(
        self, conditioning: Conditioning, noise: QueryNoise, executable: Executable, watch: Stopwatch, motion: Motion | None = None
    ) -> Plan:
        """What to execute now.

        Args:
            conditioning: The encoded observation.
            noise: The query's randomness.
            executable: Candidates to what the robot would make of them (its limits): that is what is simulated.
            watch: Running since the query began; is told the stages "propose", "score", "simulate" and "revise".
            motion: Candidates to how much they move the robot, for relative scores and for the guard against standing still; None for no
                guard.

        Raises:
            ValueError: The gate's scores are relative, and nobody says how much candidates move.
        """
        allowance = Allowance(self._config.budget_ms, self._timings, watch)
        query = _Query(conditioning=conditioning, noise=noise, executable=executable, watch=watch, motion=motion, allowance=allowance)
        return replace(self._plan(query), skipped=tuple(allowance.skipped))

    def _plan(self, query: _Query) -> Plan:
        config, rules, allowance, watch = self._config, self._rules, query.allowance, query.watch
        wanted, action_steps = allowance.proposals(1 if rules.is_alone else config.num_candidates, rules.uses_scores)
        with watch.stage("propose"):
            stream = query.noise.stream("propose")
            first = self._measured(Round(proposals=self._policy.propose(query.conditioning, wanted, stream, num_steps=action_steps)), query)

        if rules.uses_scores and not allowance.has_time_to_score(wanted):
            return Plan(first=first, choice="single", chosen=first_sample(first, query.noise), steps=config.execute_steps)
        if rules.uses_scores:
            with watch.stage("score"):
                first = replace(first, scores=self._score(first, query.noise))
        chosen = rules.choose(first, query.noise)
        passed = self._passes(first, chosen) if rules.simulates == "gate" else None
        plan = Plan(first=first, choice=rules.choice, chosen=chosen, steps=config.execute_steps, gate_passed=passed)
        if rules.simulates == "never" or passed:
            return plan

        num_futures, simulator_steps = allowance.simulations(config.futures_of(len(first)))
        if num_futures == 0:
            return plan
        with watch.stage("simulate"):
            first = self._imagine(first, query, num_futures, simulator_steps)
        if rules.simulates == "always":
            best, _, peak = most_promising(first)
            return replace(plan, first=first, choice="simulated", chosen=best, peak=peak)
        best, promise, peak = most_promising(first, config.gate.margin)
        plan = replace(plan, first=first, choice="simulated", chosen=best, steps=self._until(peak), peak=peak)
        num_revised = allowance.revisions(config.num_candidates, simulator_steps, config.futures_of) if rules.revises else 0
        if num_revised == 0:
            return plan

        with watch.stage("revise"):
            revision = self._revise(first, best, query, num_revised, simulator_steps)
        plan = replace(plan, revision=revision)
        revised, revised_promise, revised_peak = most_promising(revision, config.gate.margin)
        if revised_promise > promise + config.gate.margin:
            plan = replace(plan, choice="revised", chosen=revised, steps=self._until(revised_peak), peak=revised_peak)
        return plan

    def _passes(self, scored: Round, chosen: int) -> bool:
        """Step 3: whether the chosen candidate's score reaches the gate's threshold."""
        assert scored.scores is not None
        return bool(scored.scores[chosen] >= self._config.gate.threshold)

    def _until(self, peak: int) -> int:
        """Steps to execute of a chunk whose progress peaks at step `peak`, counted from 0."""
        return min(max(peak + 1, self._config.min_steps), self._config.execute_steps)

    def _measured(self, candidates: Round, query: _Query) -> Round:
        """With the knowledge of how much everyone moves and who stands still, where this mode asks for it."""
        if query.motion is None or not (self._rules.is_guarded or self._rules.uses_scores):
            return candidates
        motion = query.motion(candidates.proposals.actions)
        is_guarded = self._config.still_below > 0 and self._rules.is_guarded and len(candidates) > 1
        return replace(candidates, motion=motion, is_moving=moving(motion, self._config.still_below) if is_guarded else None)

    def _score(self, candidates: Round, noise: QueryNoise) -> Float[Tensor, " n"]:
        """Step 2. Both rounds and all candidates are scored with the same noise."""
        gate, proposals, actions = self._config.gate, candidates.proposals, candidates.proposals.actions
        sigmas = [sigma for sigma in gate.sigmas for _ in range(gate.num_noises)]
        shared = shared_noise(len(gate.sigmas), gate.num_noises, (actions.shape[1], actions.shape[2]), noise.stream("score")).to(actions)
        scores = redenoising_consistency(self._policy.velocity(proposals), actions, shared, sigmas)
        if gate.error == "absolute":
            return scores
        if candidates.motion is None:
            raise ValueError("relative scores need the motion of candidates")
        return relative_to_motion(scores, candidates.motion)

    def _imagine(self, candidates: Round, query: _Query, num_futures: int, num_steps: int | None) -> Round:
        """Step 4, for the most consistent candidates. Both rounds are imagined from the same noise, so that their progress compares."""
        assert self._simulator is not None
        order = list(range(len(candidates))) if candidates.scores is None else ranked(candidates.allowed(candidates.scores))
        rows = sorted(order[:num_futures])
        actions = query.executable(candidates.proposals.actions)[rows]
        futures = self._simulator.imagine(query.conditioning, actions, query.noise.stream("simulate"), num_steps)
        return replace(candidates, futures=futures, imagined=tuple(rows))

    def _revise(self, first: Round, best: int, query: _Query, num_candidates: int, num_steps: int | None) -> Round:
        """Step 5: proposes again from the best candidate's partially denoised future, and checks the answer like the first.

        The whole round is imagined, and its best judged by the same rule as the first round's: what is executed then promises
        at least as much progress as everything else that was considered.
        """
        futures, row = first.futures, first.imagined.index(best)
        assert futures is not None
        future = futures.partial[row : row + 1]
        stream = query.noise.stream("revise")
        proposals = self._policy.propose(query.conditioning, num_candidates, stream, future, futures.partial_sigma)
        revision = self._measured(Round(proposals=proposals), query)
        revision = replace(revision, scores=self._score(revision, query.noise))
        return self._imagine(revision, query, self._config.futures_of(num_candidates), num_steps)


@dataclass(frozen=True, kw_only=True)
class _Query:
    """What one call of `plan` was given."""

    conditioning: Conditioning
    noise: QueryNoise
    executable: Executable
    watch: Stopwatch
    motion: Motion | None
    allowance: Allowance
