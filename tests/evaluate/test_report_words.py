"""What the report says of decisions that were hurried, or made by an oracle."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from fake_traces import fake_trace

from tau0.contract import ActionChunk, Candidates, Decision
from tau0.evaluate.report_figures import episode_figure
from tau0.evaluate.report_words import best_progress, explain, number, signed_points


def test_a_candidate_that_was_not_imagined_promises_nothing() -> None:
    progress = np.array([[np.nan, np.nan], [0.1, 0.3]], np.float32)
    candidates = Candidates(actions=np.zeros((2, 2, 4), np.float32), scores=np.zeros(2, np.float32), progress=progress)
    assert best_progress(candidates) == (1, pytest.approx(0.3))
    trace = fake_trace(3, num_decisions=1, num_candidates=2)
    first = dataclasses.replace(trace.decisions[0], proposals=candidates, revision=None, choice="simulated", chosen=1, peak=1)
    figure = episode_figure(dataclasses.replace(trace, decisions=(first,)))["decisions"][0]
    assert [one["progress"] is None for one in figure["rounds"][0]["candidates"]] == [True, False]
    json.dumps(figure, allow_nan=False)


def test_what_was_skipped_and_what_an_oracle_did_is_said() -> None:
    decision = fake_trace(3, num_decisions=1, num_candidates=3, mode="rcs").decisions[0]
    hurried = dataclasses.replace(decision, skipped=("futures: 2 of 3", "revised candidates: 0 of 3"))
    assert "For lack of time not everything was done (futures: 2 of 3; revised candidates: 0 of 3)." in explain(hurried)
    tried = dataclasses.replace(decision, choice="oracle", chosen=1)
    assert "tried in a copy of the world, and candidate 2, which ended soonest, was executed" in explain(tried)


def _decision(**changes: Any) -> Decision:
    actions = np.zeros((3, 17, 4), np.float32)
    proposals = Candidates(actions=actions, scores=np.array([-0.2, -0.12, -0.3], np.float32))
    base = Decision(
        step=0, mode="full", proposals=proposals, choice="rcs", chosen=1, chunk=ActionChunk(actions=actions[0, :8], control_hz=10)
    )
    return dataclasses.replace(base, **changes)


def _rounds(*peaks: float) -> Candidates:
    progress = np.full((3, 17), -1, np.float32)
    progress[:, 11] = peaks
    return Candidates(actions=np.zeros((3, 17, 4), np.float32), scores=np.array([-0.2, -0.12, -0.3], np.float32), progress=progress)


TWELVE = ActionChunk(actions=np.zeros((12, 4), np.float32), control_hz=10)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            _decision(gate_threshold=-0.15, gate_passed=True),
            "The best of 3 candidates scored −0.12, above the gate of −0.15, so nothing had to be imagined. "
            "Candidate 2 was executed for 8 steps.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0.1, 0.2, 0.81),
                choice="simulated",
                chosen=2,
                peak=11,
                chunk=TWELVE,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Candidate 3 was executed for 12 steps, up to its own peak.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0, 0, 0.81),
                revision=_rounds(0.88, 0, 0),
                choice="revised",
                chosen=0,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Planning again from that future promised 0.88, so the revision was kept. Revised candidate 1 was executed for 8 steps.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0, 0, 0.81),
                revision=_rounds(0.5, 0, 0),
                choice="simulated",
                chosen=2,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Planning again from that future promised less, 0.50, so the original was kept. Candidate 3 was executed for 8 steps.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0, 0.78, 0.81),
                revision=_rounds(0.85, 0, 0),
                choice="simulated",
                chosen=1,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Planning again from that future promised hardly more, 0.85, so the original was kept. Candidate 2 was executed for 8 "
            "steps. It promised 0.78, as much within the simulator's noise, and was the more consistent.",
        ),
        (
            _decision(gate_threshold=-0.119, gate_passed=False),
            "The best of 3 candidates scored −0.120, below the gate of −0.119, so it was not trusted, yet nothing was imagined. "
            "Candidate 2 was executed for 8 steps.",
        ),
        (
            _decision(gate_threshold=float("-inf"), gate_passed=True),
            "The best of 3 candidates scored −0.12; the gate lets everything pass, so nothing had to be imagined. "
            "Candidate 2 was executed for 8 steps.",
        ),
        (_decision(mode="rcs"), "Of 3 candidates, number 2 was the most consistent, with −0.12. Candidate 2 was executed for 8 steps."),
        (
            _decision(mode="single", choice="single", chosen=0, proposals=Candidates(actions=np.zeros((1, 17, 4), np.float32))),
            "One plan was drawn. It was executed for 8 steps.",
        ),
    ],
)
def test_a_decision_in_words(decision: Decision, words: str) -> None:
    assert explain(decision) == words


def test_words_count_the_steps_really_taken() -> None:
    assert explain(_decision(mode="rcs"), executed=1).endswith("was executed for 1 step.")


def test_numbers_are_written_as_people_do() -> None:
    assert number(0.0021, tiny=2) == number(-0.0021, tiny=2) == "0.00"
    assert [number(-0.081), number(0), number(0.0021), number(-1)] == ["−0.08", "0.00", "0.0021", "−1.00"]
    assert (number(-0.0712, beside=-0.0739), number(-0.5, beside=-0.5)) == ("−0.071", "−0.5000")


def test_of_equal_promises_the_more_consistent_one_is_named_as_the_planner_takes_it() -> None:
    progress = np.array([[0.2, 1.0], [1.0, 0.3], [0.5, 0.9]], np.float32)
    candidates = Candidates(actions=np.zeros((3, 2, 4), np.float32), scores=np.array([-0.3, -0.1, -0.01], np.float32), progress=progress)
    assert best_progress(candidates) == (1, 1.0)
    assert best_progress(dataclasses.replace(candidates, scores=None)) == (0, 1.0)


def test_one_that_stands_in_the_middle_or_was_picked_at_random_is_called_so() -> None:
    three = Candidates(actions=np.zeros((3, 17, 4), np.float32))
    assert explain(_decision(mode="medoid", choice="medoid", proposals=three)).endswith(
        "Candidate 2, the one in the middle, was executed for 8 steps."
    )
    assert "picked at random" in explain(_decision(mode="random", choice="random", proposals=three))


def test_a_consistent_candidate_that_stands_still_is_not_passed_over_in_silence() -> None:
    assert explain(_decision(mode="rcs", chosen=0)).endswith("Candidate 2 was more consistent, but it hardly moves.")


def test_differences_have_signs() -> None:
    assert [signed_points(share) for share in (0.125, -0.04, 0.0, -0.0001)] == ["+12.5", "−4.0", "0.0", "0.0"]
