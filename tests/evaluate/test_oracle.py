"""Candidates tried in the world: nothing is left behind, and the best one wins."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_candidates import CHUNK, GuessingAgent, GuessingSource
from fake_closed_loop import PointWorld

from tau0.contract import Decision, Observation
from tau0.evaluate.agreement import agreement_table, agreements, choice_concordance, concordance
from tau0.evaluate.episodes import EpisodeResult, Inhabitant, run_episode
from tau0.evaluate.oracle import ORACLES, Rehearsal, RehearsalSpec, best_outcome, oracle_spec
from tau0.evaluate.records import RecordsError
from tau0.evaluate.runner import episodes_of, evaluate
from tau0.evaluate.trace import read_traces
from tau0.evaluate.workers import Recording
from tau0.plan.spec import AgentSpec

LIMIT = 40


def world_at(seed: int) -> PointWorld:
    world = PointWorld("touch", LIMIT)
    world.reset(seed)
    return world


def entered(rehearsal: Rehearsal, world: PointWorld, seed: int = 0, limit: int = LIMIT) -> Rehearsal:
    rehearsal.reset(seed)
    rehearsal.enter(world, limit)
    return rehearsal


def outcome_by_hand(seed: int, actions: np.ndarray, limit: int = LIMIT) -> float:
    """A world of its own, step by step."""
    world = world_at(seed)
    for step in range(limit):
        if world.step(actions[step] if step < len(actions) else world.expert_action()):
            return step + 1
    return np.inf


@pytest.mark.parametrize("seed", range(4))
def test_outcomes_are_what_a_fresh_world_gives_and_the_world_stays_as_it_was(seed: int) -> None:
    world = world_at(seed)
    before = world.snapshot()
    decision = entered(Rehearsal(GuessingAgent()), world, seed).decide(world.observe())
    after = world.snapshot()
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]
    assert decision.proposals.outcomes is not None
    assert decision.proposals.outcomes.tolist() == [outcome_by_hand(seed, chunk) for chunk in decision.proposals.actions]
    assert decision.expert_steps == outcome_by_hand(seed, np.zeros((0, 2)))
    assert (decision.choice, decision.chosen) == ("rcs", 0)


class OneStep(GuessingAgent):
    """Of what it chooses only one step is to be executed."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return replace(decision, chunk=replace(decision.chunk, actions=decision.chunk.actions[:1]))


def test_candidates_are_tried_for_as_many_steps_as_are_executed_unless_it_is_said() -> None:
    for tried_steps, expected_steps in ((None, 1), (CHUNK, CHUNK)):
        world = world_at(2)
        decision = entered(Rehearsal(OneStep(), tried_steps=tried_steps), world, 2).decide(world.observe())
        assert decision.proposals.outcomes is not None
        by_hand = [outcome_by_hand(2, chunk[:expected_steps]) for chunk in decision.proposals.actions]
        assert decision.proposals.outcomes.tolist() == by_hand
        assert len(decision.chunk) == 1


def test_the_oracle_takes_the_candidate_that_ends_soonest() -> None:
    for seed in range(6):
        world = world_at(seed)
        decision = entered(Rehearsal(GuessingAgent(num=8), "always", "oracle"), world, seed).decide(world.observe())
        outcomes = decision.proposals.outcomes
        assert outcomes is not None
        assert (decision.mode, decision.choice, decision.chosen) == ("oracle", "oracle", int(outcomes.argmin()))
        assert np.array_equal(decision.chunk.actions, decision.proposals.actions[decision.chosen, :CHUNK])


def test_equals_go_to_the_first_and_without_hope_the_agent_decides() -> None:
    assert best_outcome(np.array([np.inf, 7.0, 5.0, 5.0], np.float32)) == 2
    assert best_outcome(np.array([np.inf, np.inf], np.float32)) is None
    world = world_at(0)
    decision = entered(Rehearsal(GuessingAgent(), "always", "oracle"), world, limit=1).decide(world.observe())
    assert decision.proposals.outcomes is not None
    assert np.isinf(decision.proposals.outcomes).all()
    assert (decision.choice, decision.chosen) == ("rcs", 0)


def test_a_gated_oracle_only_picks_where_the_gate_fails() -> None:
    for passes, choice in ((True, "rcs"), (False, "oracle")):
        world = world_at(1)
        decision = entered(Rehearsal(GuessingAgent(passes=passes, imagined=4), "gate", "oracle-gated"), world).decide(world.observe())
        assert decision.choice == choice
        assert decision.proposals.outcomes is not None


def test_a_gated_oracle_picks_among_what_was_imagined() -> None:
    picks = []
    for seed in range(6):
        world = world_at(seed)
        agent = GuessingAgent(num=8, passes=False, imagined=3)
        decision = entered(Rehearsal(agent, "gate", "oracle-gated"), world, seed).decide(world.observe())
        outcomes = decision.proposals.outcomes
        assert outcomes is not None
        assert decision.chosen == int(outcomes[:3].argmin())
        picks.append(int(outcomes.argmin()))
    assert max(picks) >= 3
    decision = entered(Rehearsal(GuessingAgent(passes=False), "gate", "oracle-gated"), world_at(1)).decide(world_at(1).observe())
    assert (decision.choice, decision.chosen) == ("rcs", 0)
    assert best_outcome(np.array([np.inf, 3.0], np.float32), np.array([True, False])) is None


def test_watching_changes_nothing_and_an_oracle_is_better() -> None:
    def results(agent: Rehearsal | GuessingAgent) -> list[EpisodeResult]:
        return [replace(run_episode(world_at(seed), agent, seed), seconds=0.0, decision_ms=0.0) for seed in range(8)]

    plain, watched = results(GuessingAgent(goodness=0.1)), results(Rehearsal(GuessingAgent(goodness=0.1)))
    assert watched == plain
    best = results(Rehearsal(GuessingAgent(goodness=0.1), "always", "oracle"))
    assert sum(result.success for result in best) > sum(result.success for result in plain)
    assert not isinstance(GuessingAgent(), Inhabitant)
    with pytest.raises(RuntimeError, match="enter"):
        Rehearsal(GuessingAgent()).decide(world_at(0).observe())


def test_outcomes_survive_the_disk_and_say_which_beliefs_are_true(tmp_path: Path) -> None:
    sources = [GuessingSource(mode="knows", scores="true"), GuessingSource(mode="errs", scores="wrong"), GuessingSource(mode="guesses")]
    recording = Recording(folder=tmp_path / "traces")
    records = evaluate(episodes_of(["touch"], range(6)), sources, PointWorld, LIMIT, tmp_path / "out.jsonl", recording=recording)
    trace = read_traces(recording.folder)[0]
    assert trace.scored_by == "guesses"
    assert trace.decisions[0].proposals.outcomes is not None
    assert trace.decisions[0].expert_steps is not None
    found = {(one.mode, one.belief): one for one in agreements(recording.folder, records)}
    assert set(found) == {("knows", "choice"), ("knows", "score"), ("errs", "choice"), ("errs", "score"), ("guesses", "choice")}
    shares = {key: one.concordance.estimate for key, one in found.items() if one.concordance is not None}
    assert shares["knows", "score"] > 0.8
    assert shares["errs", "score"] < 0.2
    assert shares["errs", "choice"] < shares["guesses", "choice"] < shares["knows", "choice"]
    assert agreement_table(list(found.values())).row_count == 5


def test_each_wording_has_traces_and_an_agreement_of_its_own(tmp_path: Path) -> None:
    source, recording = GuessingSource(mode="knows", scores="true"), Recording(folder=tmp_path / "traces")
    plain, said = (
        evaluate(episodes_of(["touch"], range(3), words), [source], PointWorld, LIMIT, tmp_path / "out.jsonl", recording=recording)
        for words in (None, "go there")
    )
    traces = read_traces(recording.folder)
    assert sorted(trace.instruction for trace in traces) == ["do touch"] * 3 + ["go there"] * 3
    assert (recording.folder / "episode-touch-0000-knows").is_dir()
    assert len(list(recording.folder.glob("episode-touch-0000-knows-said-*"))) == 1
    for records in (plain, said):
        assert [one.of for one in agreements(recording.folder, records)] == [sum(r.result.decisions for r in records)] * 2
    with pytest.raises(RecordsError, match="mix the training wording and others"):
        agreements(recording.folder, [*plain, *said])


def test_concordance_counts_pairs() -> None:
    outcomes = np.array([5.0, 7.0, np.inf, 5.0])
    assert concordance(np.array([3.0, 2.0, 1.0, 3.0]), outcomes) == 1.0
    assert concordance(np.array([1.0, 2.0, 3.0, 1.0]), outcomes) == 0.0
    assert concordance(np.zeros(4), outcomes) == 0.5
    assert np.isnan(concordance(np.arange(3.0), np.full(3, 9.0)))
    assert concordance(np.array([np.nan, 2.0, 1.0, np.nan]), outcomes) == 1.0
    assert choice_concordance(0, outcomes) == 1.0
    assert choice_concordance(1, outcomes) == pytest.approx(1 / 3)
    assert np.isnan(choice_concordance(1, np.array([4.0, 4.0])))


def test_an_oracle_has_a_fingerprint_of_its_own_and_watching_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tau0.plan.spec.fingerprint", lambda folder: str(folder))
    spec = AgentSpec(checkpoint=tmp_path, mode="rcs", num_candidates=4)
    assert RehearsalSpec(agent=spec, mode="rcs").fingerprint == spec.fingerprint
    marks = {oracle_spec(name, spec).fingerprint for name in ORACLES}
    assert len({spec.fingerprint, *marks}) == 1 + len(ORACLES)
    some = replace(spec, search=replace(spec.search, num_futures=2))
    for name, differs in (("oracle", False), ("oracle-gated", True)):
        before = hashlib.sha256(f"{oracle_spec(name, some).agent.fingerprint} {name}".encode()).hexdigest()[:16]
        assert (oracle_spec(name, some).fingerprint != before) == differs
    assert oracle_spec("oracle", spec).agent.mode == "rcs"
    assert oracle_spec("oracle-gated", spec).agent.mode == "unrevised"
