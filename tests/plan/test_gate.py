"""A gate lets exactly the wanted share pass."""

from __future__ import annotations

import numpy as np
import pytest

from tau0.checkpoint import GateConfig
from tau0.plan.gate import choose_gate, choose_margin, other_number


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9, 1.0])
def test_the_wanted_share_passes(share: float) -> None:
    scores = np.random.default_rng(0).normal(size=200).tolist()
    gate = choose_gate(scores, share, sigmas=(0.6, 0.3), num_noises=2)
    assert sum(score >= gate.threshold for score in scores) == max(1, round(200 * share))
    assert (gate.sigmas, gate.num_noises) == ((0.6, 0.3), 2)
    assert "200" in gate.chosen_by


def test_useless_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        choose_gate([], 0.5)
    with pytest.raises(ValueError, match="1 are not finite"):
        choose_gate([0.1, float("nan")], 0.5)
    with pytest.raises(ValueError, match="passing_share"):
        choose_gate([0.1], 0.0)


def test_the_margin_is_twice_the_noise_of_a_difference() -> None:
    rng = np.random.default_rng(0)
    truth, shared = rng.normal(size=(400, 6)), rng.normal(size=(2, 400, 1))
    promises = truth + shared + 0.1 * rng.normal(size=(2, 400, 6))
    assert choose_margin(promises) == pytest.approx(2 * 0.1 * np.sqrt(2), rel=0.03)
    assert choose_margin(np.stack([truth, truth])) == 0


@pytest.mark.parametrize("shape", [(2, 0, 8), (2, 30, 1)])
def test_without_anything_to_compare_there_is_no_margin(shape: tuple[int, int, int]) -> None:
    assert choose_margin(np.ones(shape)) == 0


def test_another_number_of_candidates_is_said_where_the_gate_is_asked() -> None:
    gate = GateConfig(threshold=0.0, num_candidates=8)
    more = "the gate was calibrated with 8 candidates; with 24 the best score is higher and more decisions pass: calibrate again"
    assert other_number(gate, "full", 24, None) == more
    assert "with 2 the best score is lower and fewer decisions pass" in str(other_number(gate, "unrevised", 2, None))
    assert other_number(gate, "full", 8, None) is None
    assert other_number(gate, "rcs", 24, None) is None
    assert other_number(gate, "full", 24, 0.5) is None
    assert other_number(GateConfig(threshold=0.0), "full", 24, None) is None
    assert other_number(None, "full", 24, None) is None
