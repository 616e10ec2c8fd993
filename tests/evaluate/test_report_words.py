"""What the report says of decisions that were hurried, or made by an oracle."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fake_traces import fake_trace

from tau0.contract import Candidates
from tau0.evaluate.report_figures import episode_figure
from tau0.evaluate.report_words import best_progress, explain


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
