"""The whole loop on a tiny checkpoint with random weights."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tau0.checkpoint import Checkpoint, CheckpointError, save
from tau0.contract import ContractError, Decision, Observation
from tau0.plan.agent import MIN_STEPS, PlanningAgent, Search
from tau0.plan.motion import chunk_motion
from tau0.plan.planner import STILL_BELOW
from tau0.plan.selectors import Mode
from tau0.plan.spec import AgentSpec
from tiny import DIM, EMBODIMENT, NUM_FUTURE, tiny_checkpoint

MODES: tuple[Mode, ...] = ("single", "rcs", "full")


def observation(step: int) -> Observation:
    return replace(Observation.fake(EMBODIMENT, seed=step), step=step)


def decisions(agent: PlanningAgent, seed: int, steps: tuple[int, ...] = (0, 6, 14)) -> Iterator[Decision]:
    agent.reset(seed)
    for step in steps:
        yield agent.decide(observation(step))


def assert_same(a: Decision, b: Decision) -> None:
    assert (a.choice, a.chosen, a.peak, a.gate_passed) == (b.choice, b.chosen, b.peak, b.gate_passed)
    assert np.array_equal(a.proposals.actions, b.proposals.actions)
    assert np.array_equal(a.chunk.actions, b.chunk.actions)
    if a.proposals.progress is not None and b.proposals.progress is not None:
        assert np.array_equal(a.proposals.progress, b.proposals.progress)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_decides_the_same_and_reset_forgets(checkpoint: Checkpoint, mode: Mode) -> None:
    agent = PlanningAgent(checkpoint, mode, num_candidates=3, gate_threshold=math.inf)
    first = list(decisions(agent, 5))
    list(decisions(agent, 6, (0, 8, 16)))
    for a, b in zip(first, decisions(agent, 5), strict=True):
        assert_same(a, b)
    other = next(decisions(agent, 6))
    assert not np.array_equal(first[0].chunk.actions[:1], other.chunk.actions[:1])


def test_memory_does_not_survive_a_reset(checkpoint: Checkpoint) -> None:
    agent = PlanningAgent(checkpoint, "full", num_candidates=2, gate_threshold=math.inf)
    fresh = next(decisions(agent, 5, (8,)))
    remembering = list(decisions(agent, 5, (0, 4, 8)))[-1]
    again = next(decisions(agent, 5, (8,)))
    assert_same(fresh, again)
    assert np.array_equal(fresh.proposals.actions, remembering.proposals.actions)
    assert fresh.proposals.progress is not None
    assert remembering.proposals.progress is not None
    assert not np.array_equal(fresh.proposals.progress, remembering.proposals.progress)


def test_modes_meet_the_same_noise(checkpoint: Checkpoint) -> None:
    single, rcs, full = (next(decisions(PlanningAgent(checkpoint, mode, num_candidates=4), 3)) for mode in MODES)
    np.testing.assert_allclose(single.proposals.actions[0], rcs.proposals.actions[0], atol=1e-5)
    assert np.array_equal(rcs.proposals.actions, full.proposals.actions)
    assert rcs.proposals.scores is not None
    assert full.proposals.scores is not None
    assert np.array_equal(rcs.proposals.scores, full.proposals.scores)


def test_a_full_decision_is_complete(checkpoint: Checkpoint) -> None:
    agent = PlanningAgent(checkpoint, "full", num_candidates=3, record_frames=True, gate_threshold=math.inf)
    decision = next(decisions(agent, 1))
    assert (decision.mode, decision.step, decision.gate_passed, decision.gate_threshold) == ("full", 0, False, math.inf)
    assert decision.revision is not None
    for considered in (decision.proposals, decision.revision):
        assert considered.actions.shape == (3, EMBODIMENT.action_horizon, DIM)
        assert considered.scores is not None
        assert considered.progress is not None
        assert considered.frames is not None
        assert considered.frames.shape == (3, 2, NUM_FUTURE, 32, 32, 3)
        assert np.abs(considered.actions).max() <= 1
    assert decision.choice in ("simulated", "revised")
    origin = decision.revision if decision.choice == "revised" else decision.proposals
    assert origin.progress is not None
    assert decision.peak is not None
    assert decision.peak == origin.progress[decision.chosen].argmax()
    assert len(decision.chunk) == min(max(decision.peak + 1, MIN_STEPS), 8)
    assert np.array_equal(decision.chunk.actions, origin.actions[decision.chosen, : len(decision.chunk)])
    assert set(decision.milliseconds) == {"encode", "propose", "score", "simulate", "revise", "total"}
    assert sum(v for k, v in decision.milliseconds.items() if k != "total") <= decision.milliseconds["total"]


def test_a_passed_gate_leaves_nothing_imagined(checkpoint: Checkpoint) -> None:
    decision = next(decisions(PlanningAgent(checkpoint, "full", 2, record_frames=True, gate_threshold=-math.inf), 1))
    assert (decision.gate_passed, decision.choice, decision.peak, len(decision.chunk)) == (True, "rcs", None, 8)
    assert decision.proposals.progress is None
    assert decision.proposals.frames is None
    assert decision.revision is None


def test_the_joint_mode_shows_what_the_policy_imagines(checkpoint: Checkpoint) -> None:
    agent = PlanningAgent(checkpoint, "rcs", 3, record_frames=True, imagines_itself=True)
    decision = next(decisions(agent, 1))
    frames = decision.proposals.frames
    assert frames is not None
    assert frames.shape == (3, 2, NUM_FUTURE, 32, 32, 3)
    assert np.array_equal(frames[0], frames[2])
    full = next(decisions(PlanningAgent(checkpoint, "full", 3, imagines_itself=True, gate_threshold=math.inf), 1))
    assert np.array_equal(full.proposals.actions, decision.proposals.actions)
    assert full.revision is not None


def test_training_goes_on_after_a_decision_in_the_same_process() -> None:
    checkpoint = tiny_checkpoint(4)
    next(decisions(PlanningAgent(checkpoint, "full", 2, gate_threshold=math.inf), 1))
    latents = torch.randn(1, 6, 3, 4, 8)
    checkpoint.model.video_features(latents, torch.zeros(1, 3), torch.zeros(1, 16, 384)).velocity.sum().backward()


def test_a_foreign_observation_is_refused(checkpoint: Checkpoint) -> None:
    agent = PlanningAgent(checkpoint, "single")
    blind = replace(observation(0), images={"front": observation(0).images["front"]})
    with pytest.raises(ContractError, match="wrist"):
        agent.decide(blind)


def test_full_mode_needs_a_gate_and_a_simulator() -> None:
    ungated = tiny_checkpoint(gate_threshold=None)
    with pytest.raises(CheckpointError, match="gate"):
        PlanningAgent(ungated, "full")
    PlanningAgent(ungated, "rcs")
    policy_only = replace(ungated.config, model=replace(ungated.config.model, conditioning=None, progress=None))
    with pytest.raises(CheckpointError, match="no simulator"):
        PlanningAgent(replace(ungated, config=policy_only), "full", gate_threshold=0.0)


@pytest.mark.parametrize("mode", ["random", "medoid", "progress", "unrevised"])
def test_every_other_selector_decides_on_the_same_proposals(checkpoint: Checkpoint, mode: Mode) -> None:
    rcs = next(decisions(PlanningAgent(checkpoint, "rcs", 3), 3))
    other = next(decisions(PlanningAgent(checkpoint, mode, 3, gate_threshold=math.inf), 3))
    assert np.array_equal(rcs.proposals.actions, other.proposals.actions)
    assert other.mode == mode
    assert (other.proposals.progress is not None) == (mode in ("progress", "unrevised"))
    assert other.revision is None
    assert other.skipped == ()


def test_a_budget_of_nothing_still_answers_and_one_of_hours_changes_nothing(checkpoint: Checkpoint) -> None:
    def decide(budget_ms: float | None) -> Decision:
        return next(decisions(PlanningAgent(checkpoint, "full", 3, gate_threshold=math.inf, budget_ms=budget_ms), 2))

    hurried, patient = decide(0.0), decide(3.6e6)
    assert (len(hurried.proposals.actions), hurried.choice, hurried.gate_passed) == (1, "single", None)
    assert hurried.skipped[0] == "candidates: 1 of 3"
    assert patient.skipped == ()
    assert_same(patient, decide(None))


def test_a_larger_noise_scale_moves_all_candidates_but_the_first(checkpoint: Checkpoint) -> None:
    usual, wide = (
        next(decisions(PlanningAgent(checkpoint, "random", 4, search=Search(noise_scale=scale)), 3)).proposals.actions
        for scale in (1.0, 2.0)
    )
    np.testing.assert_allclose(usual[0], wide[0], atol=1e-6)
    assert all(np.abs(usual[i] - wide[i]).max() > 1e-3 for i in (1, 2, 3))
    with pytest.raises(ValueError, match="noise_scale"):
        Search(noise_scale=0.0)


def test_fewer_steps_of_the_same_plan_are_executed(checkpoint: Checkpoint) -> None:
    usual, short, long = (
        next(decisions(PlanningAgent(checkpoint, "single", search=Search(execute_steps=steps)), 3)) for steps in (None, 2, 1000)
    )
    np.testing.assert_array_equal(short.chunk.actions, usual.chunk.actions[:2])
    assert len(long.chunk.actions) == checkpoint.config.embodiment.action_horizon
    with pytest.raises(ValueError, match="execute_steps must be at least 1, got 0"):
        Search(execute_steps=0)


def test_a_gate_is_not_asked_about_scores_that_it_was_not_chosen_for(checkpoint: Checkpoint) -> None:
    search = Search(score_sigmas=(0.6, 0.3), score_noises=4)
    with pytest.raises(
        CheckpointError, match=r"chosen for scores of 2 noises at levels 0\.6, absolute errors: with others, give a threshold"
    ):
        PlanningAgent(checkpoint, "full", 2, search=search)
    PlanningAgent(checkpoint, "full", 2, search=search, gate_threshold=0.0)
    plain = next(decisions(PlanningAgent(checkpoint, "rcs", 3), 3)).proposals.scores
    other = next(decisions(PlanningAgent(checkpoint, "rcs", 3, search=search), 3)).proposals.scores
    assert plain is not None
    assert other is not None
    assert not np.array_equal(plain, other)


def test_relative_scores_divide_by_the_motion_of_what_would_be_executed(checkpoint: Checkpoint) -> None:
    absolute, relative = (
        next(decisions(PlanningAgent(checkpoint, "rcs", 3, search=Search(score_error=error)), 3)) for error in ("absolute", "relative")
    )
    state = torch.from_numpy(observation(0).state).float()
    assert absolute.proposals.scores is not None
    assert relative.proposals.scores is not None
    config = checkpoint.config
    proposals = config.codec.encode(torch.from_numpy(absolute.proposals.actions), state.expand(3, -1))
    motion = chunk_motion(config, proposals, state, config.sampling.execute_steps).numpy()
    errors = -absolute.proposals.scores
    np.testing.assert_allclose(relative.proposals.scores, -errors / (errors + motion**2), rtol=1e-3)
    with pytest.raises(ValueError, match="score_error is 'odd', expected one of absolute, relative"):
        Search(score_error="odd")  # pyright: ignore[reportArgumentType]


def test_a_spec_travels_and_builds(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save(checkpoint, tmp_path / "tiny")
    spec = AgentSpec(checkpoint=tmp_path / "tiny", mode="rcs", num_candidates=2)
    copy: AgentSpec = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert copy.fingerprint == spec.fingerprint
    assert_same(next(decisions(copy.build(), 2)), next(decisions(PlanningAgent(checkpoint, "rcs", 2), 2)))
    others = (replace(spec, num_candidates=3), replace(spec, mode="full"), replace(spec, mode="full", gate_threshold=1.0))
    assert len({spec.fingerprint, *(other.fingerprint for other in others)}) == 4
    searched = replace(spec, search=Search(noise_scale=2.0))
    assert searched.fingerprint != spec.fingerprint
    assert replace(spec, budget_ms=5.0).fingerprint != spec.fingerprint
    assert replace(spec, mode="full").scored_by == spec.scored_by != searched.scored_by
    relative = replace(spec, search=Search(score_error="relative"))
    assert len({s.fingerprint for s in (spec, searched, relative)}) == len({s.scored_by for s in (spec, searched, relative)}) == 3
    unguarded, usual = (replace(spec, search=Search(still_below=share)) for share in (0.0, STILL_BELOW))
    assert unguarded.scored_by != spec.scored_by == usual.scored_by
    assert replace(relative, mode="single").fingerprint == replace(spec, mode="single").fingerprint
    assert replace(searched, mode="single").fingerprint == replace(spec, mode="single").fingerprint
    assert replace(spec, record_frames=True).fingerprint == spec.fingerprint
    short = Search(execute_steps=2)
    assert len({replace(spec, mode=mode, search=search).fingerprint for mode in ("single", "rcs") for search in (short, Search())}) == 4
