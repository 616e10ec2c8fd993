"""A checkpoint that acts: observation in, decision out, through the whole loop."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from tau0.checkpoint import Checkpoint, CheckpointError, GateConfig, fingerprint, load
from tau0.contract import ActionChunk, Candidates, Decision, Observation
from tau0.encode import ObservationEncoder, executable_actions, latents_to_frames, robot_actions
from tau0.plan.budget import Stopwatch
from tau0.plan.noise import QueryNoise
from tau0.plan.planner import Mode, Planner, PlannerConfig, Round
from tau0.policy.policy import JointPolicy, VideoActionPolicy
from tau0.simulate.simulator import ActionConditionedSimulator

NUM_CANDIDATES = 8
MIN_STEPS = 4
"""Fewest steps executed of a chunk that is truncated at its peak: a peak at step 0 would stop the robot for good, and one a step
later would spend a whole query on a move too small to be seen in the next picture."""


class PlanningAgent:
    """Plans at every query. Everything that it knows of an episode is its memory and the seed; both end with `reset`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        mode: Mode,
        num_candidates: int = NUM_CANDIDATES,
        record_frames: bool = False,
        *,
        gate_threshold: float | None = None,
        imagines_itself: bool = False,
        budget_ms: float | None = None,
    ) -> None:
        """An agent at the start of an episode of seed 0.

        Args:
            checkpoint: Networks, codec, gate.
            mode: See `PlannerConfig`.
            num_candidates: Chunks a round.
            record_frames: Whether decisions hold the imagined futures as pictures.
            gate_threshold: Replaces the checkpoint's; minus infinity never simulates, infinity always does.
            imagines_itself: Whether the policy denoises video and actions together (its joint mode) instead of actions alone.
            budget_ms: See `PlannerConfig`.

        Raises:
            CheckpointError: When the mode is "full" and the checkpoint has no gate, or no simulator.
        """
        config = checkpoint.config
        self._checkpoint = checkpoint
        self._mode: Mode = mode
        self._record_frames = record_frames
        self._gate = _gate(checkpoint, mode, gate_threshold)
        self._encoder = ObservationEncoder(checkpoint)
        execute_steps = min(config.sampling.execute_steps, config.embodiment.action_horizon)
        planner_config = PlannerConfig(
            mode=mode,
            gate=self._gate,
            num_candidates=num_candidates,
            execute_steps=execute_steps,
            min_steps=min(MIN_STEPS, execute_steps),
            budget_ms=budget_ms,
        )
        policy = JointPolicy(checkpoint) if imagines_itself else VideoActionPolicy(checkpoint)
        simulator = ActionConditionedSimulator(checkpoint) if mode == "full" else None
        self._planner = Planner(policy, simulator, planner_config)
        self._seed = 0

    def reset(self, seed: int) -> None:
        """Forgets the last episode. Every random number of the next one follows from `seed` (>= 0) and the step of the query."""
        self._seed = seed
        self._encoder.reset()

    @torch.inference_mode()
    def decide(self, observation: Observation) -> Decision:
        """What to do now, and why. `milliseconds` leaves out the pictures of imagined futures, which are for people.

        Raises:
            ContractError: When the observation does not fit the checkpoint's embodiment.
        """
        watch, config = Stopwatch(), self._checkpoint.config
        with watch.stage("encode"):
            conditioning = self._encoder.encode(observation)
        state = torch.from_numpy(observation.state).float()
        noise = QueryNoise(seed=self._seed, step=observation.step)
        plan = self._planner.plan(conditioning, noise, partial(executable_actions, config, state=state), watch)
        first = self._candidates(plan.first, state)
        revision = None if plan.revision is None else self._candidates(plan.revision, state)
        origin = revision if plan.choice == "revised" and revision is not None else first
        chunk = ActionChunk(actions=origin.actions[plan.chosen, : plan.steps], control_hz=config.embodiment.control_hz)
        milliseconds = {**watch.milliseconds, "total": watch.elapsed_ms}
        return Decision(
            step=observation.step,
            mode=self._mode,
            proposals=self._with_frames(first, plan.first, conditioning.current),
            choice=plan.choice,
            chosen=plan.chosen,
            chunk=chunk,
            gate_threshold=self._gate.threshold if self._mode == "full" else None,
            gate_passed=plan.gate_passed,
            revision=None
            if revision is None or plan.revision is None
            else self._with_frames(revision, plan.revision, conditioning.current),
            peak=plan.peak,
            milliseconds=milliseconds,
        )

    def _candidates(self, considered: Round, state: torch.Tensor) -> Candidates:
        """A round in robot units."""
        return Candidates(
            actions=robot_actions(self._checkpoint.config, considered.proposals.actions, state).numpy(),
            scores=None if considered.scores is None else considered.scores.cpu().numpy(),
            progress=None if considered.futures is None else considered.futures.progress.cpu().numpy(),
        )

    def _with_frames(self, candidates: Candidates, considered: Round, current: torch.Tensor) -> Candidates:
        """With pictures: of the simulator's futures, or else of the one that the policy imagined for all candidates."""
        latents = considered.proposals.video if considered.futures is None else considered.futures.latents
        if latents is None or not self._record_frames:
            return candidates
        frames = latents_to_frames(self._checkpoint, latents, current)
        return replace(candidates, frames=np.repeat(frames, len(candidates.actions) // len(frames), axis=0))


def _gate(checkpoint: Checkpoint, mode: Mode, threshold: float | None) -> GateConfig:
    """The checkpoint's gate, with another threshold where one is given. Only mode "full" reads the threshold."""
    config = checkpoint.config
    simulator = config.model if config.simulator is None else config.simulator
    if mode == "full" and (simulator.conditioning is None or simulator.progress is None):
        raise CheckpointError(f"mode 'full' simulates, but {config.name!r} has no simulator: use mode 'rcs'")
    if mode == "full" and threshold is None and config.gate is None:
        raise CheckpointError(f"mode 'full' needs a gate, but {config.name!r} has none: calibrate it, or give a threshold")
    gate = config.gate or GateConfig(threshold=0.0, chosen_by="not chosen")
    return gate if threshold is None else replace(gate, threshold=threshold, chosen_by="given by hand")


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """How a process makes its agent: what `evaluate` sends to its workers.

    Attributes:
        checkpoint: The folder.
        mode: See `PlannerConfig`; the agent's label in results.
        num_candidates: Chunks a round.
        record_frames: See `PlanningAgent`.
        gate_threshold: See `PlanningAgent`.
        imagines_itself: See `PlanningAgent`.
        budget_ms: See `PlannerConfig`.
    """

    checkpoint: Path
    mode: Mode
    num_candidates: int = NUM_CANDIDATES
    record_frames: bool = False
    gate_threshold: float | None = None
    imagines_itself: bool = False
    budget_ms: float | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoint's files and of every setting that changes behaviour. Reads the files once."""
        candidates = 1 if self.mode == "single" else self.num_candidates
        full = (self.gate_threshold, self.budget_ms) if self.mode == "full" else ()
        settings = f"{fingerprint(self.checkpoint)} {self.mode} {candidates} {self.imagines_itself} {full}"
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    def build(self) -> PlanningAgent:
        """A ready agent. Raises `CheckpointError` when the folder is not a whole checkpoint for this mode."""
        return PlanningAgent(
            load(self.checkpoint),
            self.mode,
            self.num_candidates,
            self.record_frames,
            gate_threshold=self.gate_threshold,
            imagines_itself=self.imagines_itself,
            budget_ms=self.budget_ms,
        )
