"""Progress labels equal the golden file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tau0.data.progress import aligned_progress, failed_progress, success_progress, window_progress

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "progress_labels.safetensors")


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("success.")])
def test_labels_of_a_successful_segment(name: str) -> None:
    steps, gamma = name.removeprefix("success.steps").split(".gamma")
    np.testing.assert_allclose(success_progress(int(steps), float(gamma)), GOLDEN[name], rtol=0, atol=1e-6)


def test_alignment_to_sampled_frames() -> None:
    aligned = aligned_progress(GOLDEN["aligned.sample_indices"], GOLDEN["aligned.valid_indices"], GOLDEN["aligned.valid_returns"])
    np.testing.assert_allclose(aligned, GOLDEN["aligned.progress"], rtol=0, atol=1e-6)


def test_a_window_shows_the_start_of_its_segment() -> None:
    np.testing.assert_array_equal(window_progress(17, 60), success_progress(60)[:17])


def test_a_window_that_outlasts_its_segment_stays_at_one() -> None:
    labels = window_progress(17, 10)
    np.testing.assert_array_equal(labels[:10], success_progress(10))
    assert (labels[10:] == 1).all()


def test_failure_is_minus_one_everywhere() -> None:
    assert (failed_progress(5) == -1).all()
