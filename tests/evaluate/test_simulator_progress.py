"""Calibration and constancy of predicted progress."""

from __future__ import annotations

import numpy as np
import pytest
from fake_simulators import HORIZON, held_out

from tau0.evaluate.simulator_progress import progress_card
from tau0.evaluate.simulator_results import ProgressCard
from tau0.evaluate.simulator_windows import CardWindows, choose_windows


def windows_and_labels() -> tuple[CardWindows, np.ndarray]:
    """Demonstrations' progress rises within each window, failures' stays low, branches' lies between."""
    windows = choose_windows(held_out(), HORIZON - 1, 12, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    start = rng.uniform(-0.6, 0.6, size=(len(windows), 1))
    rise = np.linspace(0, 0.3, HORIZON) * (windows.kinds == "demonstration")[:, None]
    return windows, np.where((windows.kinds == "failure")[:, None], -1.0, start + rise)


def card_of(predict) -> ProgressCard:
    windows, labels = windows_and_labels()
    return progress_card(windows, predict(labels), labels, np.random.default_rng(2))


def test_truth_is_calibrated_and_rises():
    card = card_of(lambda labels: labels)
    assert card.calibration_error is not None
    assert card.rank_all is not None
    assert card.within is not None
    assert card.range is not None
    assert card.true_range is not None
    assert card.flat is not None
    assert card.calibration_error.estimate == pytest.approx(0.0, abs=1e-12)
    assert card.rank_all.estimate == pytest.approx(1.0)
    assert card.within.estimate == pytest.approx(1.0)
    assert card.range.estimate == pytest.approx(0.3)
    assert card.true_range.estimate == pytest.approx(0.3)
    assert card.flat.estimate == 0.0
    assert sum(part.num_steps for part in card.calibration) == 30 * HORIZON
    for part in card.calibration:
        assert part.low <= part.predicted <= part.high
        assert part.true.estimate == pytest.approx(part.predicted)


def test_a_constant_curve_is_flat_and_ranks_nothing_within_a_window():
    card = card_of(lambda labels: np.repeat(labels.mean(axis=1, keepdims=True), HORIZON, axis=1))
    assert card.within is not None
    assert card.range is not None
    assert card.flat is not None
    assert card.rank_successes is not None
    assert (card.within.estimate, card.range.estimate, card.flat.estimate) == (0.0, 0.0, 1.0)
    assert card.rank_successes.estimate == pytest.approx(1.0)


def test_boasting_is_an_error_of_calibration():
    card = card_of(lambda labels: np.minimum(labels + 0.4, 1.0))
    assert card.calibration_error is not None
    assert card.calibration_error.estimate == pytest.approx(0.4, abs=0.02)
    assert card.calibration_error.low > 0.3


def test_the_same_for_everything_correlates_with_nothing():
    card = card_of(lambda labels: np.zeros_like(labels))
    assert card.rank_all is None
    assert len(card.calibration) == 1


def test_windows_without_labels_say_nothing():
    windows, labels = windows_and_labels()
    none = np.zeros(len(windows), np.bool_)
    assert progress_card(windows[none], labels[none], labels[none], np.random.default_rng(0)) == ProgressCard()
