"""Test-time computation: propose, score, and where the scores are not good enough, simulate and revise (SPEC.md section 6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import GateConfig
from tau0.contract import Choice
from tau0.plan.noise import QueryNoise
from tau0.plan.score import redenoising_consistency
from tau0.policy.policy import Policy
from tau0.simulate.simulator import Simulator
from tau0.tensors import Conditioning, Futures, Proposals

Mode = Literal["single", "rcs", "full"]
Executable = Callable[[Float[Tensor, "n ha da"]], Float[Tensor, "n ha da"]]


class Stopwatch:
    """Wall time by stage, in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to the stage's."""
        started = time.perf_counter()
        yield
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + 1000 * (time.perf_counter() - started)


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
        peak: Step of the chosen chunk's highest progress; None where nothing was simulated.
        milliseconds: By stage.
    """

    first: Round
    choice: Choice
    chosen: int
    steps: int
    gate_passed: bool | None = None
    revision: Round | None = None
    peak: int | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """How the planner plans.

    Attributes:
        mode: "single": one candidate. "rcs": the most consistent of several. "full": the same, and simulation where the gate fails.
        gate: Threshold, and how scores are taken. Mode "rcs" ignores the threshold.
        num_candidates: Chunks a round; mode "single" proposes one.
        execute_steps: Most steps executed before the next query.
        min_steps: Fewest steps executed of a chunk that is truncated at its peak.
    """

    mode: Mode
    gate: GateConfig
    num_candidates: int
    execute_steps: int
    min_steps: int

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode is {self.mode!r}, expected one of {get_args(Mode)}")
        if self.num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {self.num_candidates}")
        if not 1 <= self.min_steps <= self.execute_steps:
            raise ValueError(f"need 1 <= min_steps <= execute_steps, got {self.min_steps} and {self.execute_steps}")


class Planner:
    """The algorithm, on anything that proposes and anything that imagines. Keeps nothing from one query to the next."""

    def __init__(self, policy: Policy, simulator: Simulator | None, config: PlannerConfig) -> None:
        if config.mode == "full" and simulator is None:
            raise ValueError("mode 'full' needs a simulator; this checkpoint has none, so use mode 'rcs'")
        self._policy = policy
        self._simulator = simulator
        self._config = config

    @torch.inference_mode()
    def plan(self, conditioning: Conditioning, noise: QueryNoise, executable: Executable) -> Plan:
        """What to execute now.

        Args:
            conditioning: The encoded observation.
            noise: The query's randomness.
            executable: Candidates to what the robot would make of them (its limits): that is what is simulated.
        """
        config, watch = self._config, Stopwatch()
        first = self._propose(conditioning, noise, watch)
        if first.scores is None:
            return Plan(first=first, choice="single", chosen=0, steps=config.execute_steps, milliseconds=watch.milliseconds)

        most_consistent = best_index(first.scores)
        passed = None if config.mode == "rcs" else bool(first.scores[most_consistent] >= config.gate.threshold)
        if passed is None or passed:
            return Plan(
                first=first, choice="rcs", chosen=most_consistent, steps=config.execute_steps, gate_passed=passed,
                milliseconds=watch.milliseconds,
            )  # fmt: skip

        with watch.stage("simulate"):
            first = self._imagine(first, conditioning, noise, executable)
        chosen, promise, peak = most_promising(first)
        with watch.stage("revise"):
            revision = self._revise(first, chosen, conditioning, noise, executable)
        revised, revised_promise, revised_peak = most_promising(revision)

        choice: Choice = "simulated"
        if revised_promise > promise:
            choice, chosen, peak = "revised", revised, revised_peak
        steps = min(max(peak + 1, config.min_steps), config.execute_steps)
        return Plan(
            first=first, choice=choice, chosen=chosen, steps=steps, gate_passed=False, revision=revision, peak=peak,
            milliseconds=watch.milliseconds,
        )  # fmt: skip

    def _propose(self, conditioning: Conditioning, noise: QueryNoise, watch: Stopwatch) -> Round:
        """Steps 1 and 2: candidates from one trunk pass, and their consistency."""
        if self._config.mode == "single":
            with watch.stage("propose"):
                return Round(proposals=self._policy.propose(conditioning, 1, noise.stream("propose")))
        with watch.stage("propose"):
            proposals = self._policy.propose(conditioning, self._config.num_candidates, noise.stream("propose"))
        with watch.stage("score"):
            return Round(proposals=proposals, scores=self._score(proposals, noise))

    def _score(self, proposals: Proposals, noise: QueryNoise) -> Float[Tensor, " n"]:
        """Step 2. Both rounds and all candidates are scored with the same noise."""
        gate, actions = self._config.gate, proposals.actions
        sigmas = [sigma for sigma in gate.sigmas for _ in range(gate.num_noises)]
        shared = torch.randn(len(sigmas), *actions.shape[1:], generator=noise.stream("score")).to(actions)
        return redenoising_consistency(self._policy.velocity(proposals), actions, shared, sigmas)

    def _imagine(self, candidates: Round, conditioning: Conditioning, noise: QueryNoise, executable: Executable) -> Round:
        """Step 4. Both rounds are imagined from the same noise, so that their progress compares."""
        assert self._simulator is not None
        actions = executable(candidates.proposals.actions)
        futures = self._simulator.imagine(conditioning, actions, noise.stream("simulate"))
        return Round(proposals=candidates.proposals, scores=candidates.scores, futures=futures)

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


def most_promising(candidates: Round) -> tuple[int, float, int]:
    """The candidate whose progress rises highest (`J_i = max over steps`): its index, its J, and the step of its peak."""
    assert candidates.futures is not None
    progress = candidates.futures.progress
    best = best_index(progress.amax(dim=1))
    return best, float(progress[best].max()), int(progress[best].argmax())


def best_index(values: Float[Tensor, " n"]) -> int:
    """The index of the highest value, the first of equals. What is not a number is worse than anything."""
    return int(values.nan_to_num(nan=-torch.inf, neginf=-torch.inf, posinf=torch.inf).argmax())
