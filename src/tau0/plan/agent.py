"""A checkpoint that acts: observation in, decision out, through the whole loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from tau0.checkpoint import Checkpoint, CheckpointError, GateConfig, ScoreError
from tau0.contract import ActionChunk, Candidates, Commitment, Decision, Observation
from tau0.encode import ObservationEncoder, executable_actions, latents_to_frames, robot_actions
from tau0.plan.budget import Stopwatch
from tau0.plan.motion import chunk_motion
from tau0.plan.noise import QueryNoise
from tau0.plan.planner import STILL_BELOW, Planner, PlannerConfig
from tau0.plan.selectors import SELECTORS, Mode, Round
from tau0.plan.timings import measure_timings, typical_conditioning
from tau0.policy.inpainting import STRONGEST
from tau0.policy.policy import JointPolicy, VideoActionPolicy
from tau0.simulate.simulator import ActionConditionedSimulator

NUM_CANDIDATES = 8
MIN_STEPS = 4
"""Fewest steps executed of a chunk that is truncated at its peak: a peak at step 0 would stop the robot for good, and one a step
later would spend a whole query on a move too small to be seen in the next picture."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How candidates are drawn and compared, where that is not as the checkpoint says.

    Attributes:
        noise_scale: See `VideoActionPolicy`.
        score_sigmas: Levels of the score; None for the gate's.
        score_noises: Noises per level; None for the gate's.
        score_error: Absolute or relative; None for the gate's.
        still_below: See `PlannerConfig`.
        num_futures: See `PlannerConfig`.
        guidance: See `VideoActionPolicy`.
        execute_steps: Most steps of a plan that are executed before the next query; None for the checkpoint's. More than the chunk has are
            as many as it has.
    """

    noise_scale: float = 1.0
    score_sigmas: tuple[float, ...] | None = None
    score_noises: int | None = None
    score_error: ScoreError | None = None
    still_below: float = STILL_BELOW
    num_futures: int | None = None
    guidance: float = STRONGEST
    execute_steps: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be at least 0 and finite, got {self.guidance}")
        if not 0 < self.noise_scale < math.inf:
            raise ValueError(f"noise_scale must be above 0 and finite, got {self.noise_scale}")
        if self.score_sigmas is not None and not (self.score_sigmas and all(0 < sigma <= 1 for sigma in self.score_sigmas)):
            raise ValueError(f"score_sigmas must be levels above 0 and at most 1, got {self.score_sigmas}")
        if self.score_noises is not None and self.score_noises < 1:
            raise ValueError(f"score_noises must be at least 1, got {self.score_noises}")
        if self.score_error not in (None, *get_args(ScoreError)):
            raise ValueError(f"score_error is {self.score_error!r}, expected one of {', '.join(get_args(ScoreError))}")
        if self.execute_steps is not None and self.execute_steps < 1:
            raise ValueError(f"execute_steps must be at least 1, got {self.execute_steps}")

    def gate(self, gate: GateConfig) -> GateConfig:
        """The gate with this way of scoring."""
        return replace(
            gate,
            sigmas=self.score_sigmas or gate.sigmas,
            num_noises=self.score_noises or gate.num_noises,
            error=self.score_error or gate.error,
        )


AS_CALIBRATED = Search()


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
        search: Search = AS_CALIBRATED,
    ) -> None:
        """An agent at the start of an episode of seed 0. With a budget it first measures what its stages take, for about a second.

        Args:
            checkpoint: Networks, codec, gate.
            mode: See `PlannerConfig`.
            num_candidates: Chunks a round.
            record_frames: Whether decisions hold the imagined futures as pictures.
            gate_threshold: Replaces the checkpoint's; minus infinity never simulates, infinity always does.
            imagines_itself: Whether the policy denoises video and actions together (its joint mode) instead of actions alone.
            budget_ms: See `PlannerConfig`.
            search: How candidates are drawn and compared.

        Raises:
            CheckpointError: When the mode simulates and the checkpoint has no simulator, or its gate is asked and there is none for such
                scores.
        """
        config = checkpoint.config
        self._checkpoint = checkpoint
        self._mode: Mode = mode
        self._record_frames = record_frames
        self._gate = gate_of(checkpoint, mode, gate_threshold, search)
        self._encoder = ObservationEncoder(checkpoint)
        self.execute_steps = min(search.execute_steps or config.sampling.execute_steps, config.embodiment.action_horizon)
        planner_config = PlannerConfig(
            mode=mode,
            gate=self._gate,
            num_candidates=num_candidates,
            execute_steps=self.execute_steps,
            min_steps=min(MIN_STEPS, self.execute_steps),
            budget_ms=budget_ms,
            still_below=search.still_below,
            num_futures=search.num_futures,
        )
        policy = (JointPolicy if imagines_itself else VideoActionPolicy)(checkpoint, search.noise_scale, search.guidance)
        simulator = None if SELECTORS[mode].simulates == "never" else ActionConditionedSimulator(checkpoint)
        timings = None
        if budget_ms is not None:
            steps = config.sampling.video_steps if imagines_itself else config.sampling.action_steps
            typical, most = typical_conditioning(checkpoint), 1 if SELECTORS[mode].is_alone else num_candidates
            timings = measure_timings(policy, simulator, typical, self._gate, most, steps, config.sampling.rank_steps)
        self._planner = Planner(policy, simulator, planner_config, timings)
        self._seed = 0

    def reset(self, seed: int) -> None:
        """Forgets the last episode. Every random number of the next one follows from `seed` (>= 0) and the step of the query."""
        self._seed = seed
        self._encoder.reset()

    @torch.inference_mode()
    def decide(self, observation: Observation) -> Decision:
        """What to do now, and why. `milliseconds` leaves out the pictures of imagined futures, which are for people.

        A robot that waits gets as many steps as it should execute; one that is committed gets all that the chunk has, to its peak if there
        is one, since nobody knows when the next will come.

        Raises:
            ContractError: When the observation does not fit the checkpoint's embodiment.
        """
        watch, config = Stopwatch(), self._checkpoint.config
        with watch.stage("encode"):
            conditioning = self._encoder.encode(observation)
        state = torch.from_numpy(observation.state).float()
        noise = QueryNoise(seed=self._seed, step=observation.step)
        motion = partial(chunk_motion, config, state=state, steps=self.execute_steps)
        plan = self._planner.plan(conditioning, noise, partial(executable_actions, config, state=state), watch, motion)
        first = self._candidates(plan.first, state)
        revision = None if plan.revision is None else self._candidates(plan.revision, state)
        origin = revision if plan.choice == "revised" and revision is not None else first
        steps = plan.steps if observation.committed is None else self._moving_steps(plan.steps, observation.committed)
        chunk = ActionChunk(actions=origin.actions[plan.chosen, :steps], control_hz=config.embodiment.control_hz)
        milliseconds = {**watch.milliseconds, "total": watch.elapsed_ms}
        return Decision(
            step=observation.step,
            mode=self._mode,
            proposals=self._with_frames(first, plan.first, conditioning.current),
            choice=plan.choice,
            chosen=plan.chosen,
            chunk=chunk,
            gate_threshold=self._gate.threshold if SELECTORS[self._mode].simulates == "gate" else None,
            gate_passed=plan.gate_passed,
            revision=None
            if revision is None or plan.revision is None
            else self._with_frames(revision, plan.revision, conditioning.current),
            peak=plan.peak,
            milliseconds=milliseconds,
            skipped=plan.skipped,
        )

    def _moving_steps(self, steps: int, committed: Commitment) -> int:
        """Steps for a robot that moves meanwhile; a chunk that is cut at its peak leaves a few after those that cannot be changed."""
        horizon = self._checkpoint.config.embodiment.action_horizon
        return horizon if steps == self.execute_steps else min(max(steps, committed.num_frozen + MIN_STEPS), horizon)

    def _candidates(self, considered: Round, state: torch.Tensor) -> Candidates:
        """A round in robot units."""
        return Candidates(
            actions=robot_actions(self._checkpoint.config, considered.proposals.actions, state).numpy(),
            scores=None if considered.scores is None else considered.scores.cpu().numpy(),
            progress=None if considered.futures is None else _of_all(considered, considered.futures.progress.cpu().numpy(), np.nan),
        )

    def _with_frames(self, candidates: Candidates, considered: Round, current: torch.Tensor) -> Candidates:
        """With pictures: of the simulator's futures, or else of the one that the policy imagined for all candidates."""
        latents = considered.proposals.video if considered.futures is None else considered.futures.latents
        if latents is None or not self._record_frames:
            return candidates
        frames = latents_to_frames(self._checkpoint, latents, current)
        if considered.futures is not None:
            return replace(candidates, frames=_of_all(considered, frames, 0))
        return replace(candidates, frames=np.repeat(frames, len(candidates.actions) // len(frames), axis=0))


def _of_all(considered: Round, values: NDArray[Any], absent: float) -> NDArray[Any]:
    """What is known of the imagined candidates as rows among all, `absent` for the others."""
    rows = np.full((len(considered), *values.shape[1:]), absent, values.dtype)
    rows[list(considered.imagined)] = values
    return rows


def gate_of(checkpoint: Checkpoint, mode: Mode, threshold: float | None, search: Search) -> GateConfig:
    """The checkpoint's gate, with another threshold or other scores where they are given. Not every mode reads the threshold.

    Raises:
        CheckpointError: See `PlanningAgent`.
    """
    config, simulates = checkpoint.config, SELECTORS[mode].simulates
    simulator = config.model if config.simulator is None else config.simulator
    if simulates != "never" and (simulator.conditioning is None or simulator.progress is None):
        raise CheckpointError(f"mode {mode!r} simulates, but {config.name!r} has no simulator: use mode 'rcs'")
    asks = simulates == "gate" and threshold is None
    if asks and config.gate is None:
        raise CheckpointError(f"mode {mode!r} needs a gate, but {config.name!r} has none: calibrate it, or give a threshold")
    gate = config.gate or GateConfig(threshold=0.0, chosen_by="not chosen")
    scored = search.gate(gate)
    if asks and scored != gate:
        known = f"{gate.num_noises} noises at levels {', '.join(map(str, gate.sigmas))}, {gate.error} errors"
        raise CheckpointError(f"the gate of {config.name!r} was chosen for scores of {known}: with others, give a threshold")
    return scored if threshold is None else replace(scored, threshold=threshold, chosen_by="given by hand", num_candidates=0)
