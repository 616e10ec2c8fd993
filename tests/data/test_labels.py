"""Progress labels from what a recording says about segments, success and failure."""

from __future__ import annotations

import numpy as np
import pytest

from tau0.data.info import DatasetError
from tau0.data.labels import discount, make_labels, recorded_labels, success_of
from tau0.data.progress import GAMMA, success_progress
from tau0.data.segments import Segment

REACH = Segment(start=2, stop=6, text="reach", success=True)
GRASP = Segment(start=6, stop=9, text="grasp", success=False)
UNJUDGED = Segment(start=2, stop=6, text="reach")


def test_segments_that_succeeded_rise_to_one_and_all_else_is_minus_one() -> None:
    labels = make_labels(12, [REACH, GRASP], None, None, 0.9)
    np.testing.assert_array_equal(labels.progress[2:6], success_progress(4, 0.9))
    assert labels.progress[5] == 1
    assert (np.delete(labels.progress, [2, 3, 4, 5]) == -1).all()
    assert labels.known.all()


@pytest.mark.parametrize("success", [True, False])
def test_a_segment_that_nobody_judged_ends_as_the_episode_does(success: bool) -> None:
    labels = make_labels(12, [UNJUDGED], success, None, 0.9)
    assert bool(labels.progress.max() == 1) is success
    assert labels.known.all()


def test_a_segment_that_nobody_judged_in_an_episode_of_which_nothing_is_known_is_not_learned() -> None:
    labels = make_labels(12, [UNJUDGED, GRASP], None, None, 0.9)
    assert np.flatnonzero(~labels.known).tolist() == [2, 3, 4, 5]
    assert (labels.progress == -1).all()


def test_nothing_known_supervises_nothing() -> None:
    assert not make_labels(12, [], None, None, 0.9).known.any()
    assert not make_labels(12, [UNJUDGED], None, None, 0.9).known.any()


def test_a_success_without_segments_is_one_segment_to_where_it_was_solved() -> None:
    np.testing.assert_array_equal(make_labels(12, [], True, None, 0.9).progress, success_progress(12, 0.9))
    early = make_labels(12, [], True, 7, 0.9).progress
    np.testing.assert_array_equal(early[:8], success_progress(8, 0.9))
    assert (early[7:] == 1).all()


def test_a_failure_is_minus_one_throughout() -> None:
    labels = make_labels(12, [], False, None, 0.9)
    assert (labels.progress == -1).all()
    assert labels.known.all()


def test_a_segment_that_outlasts_the_episode_counts_to_its_own_end() -> None:
    labels = make_labels(5, [REACH], None, None, 0.9)
    np.testing.assert_array_equal(labels.progress[2:], success_progress(4, 0.9)[:3])


def test_the_same_time_before_the_end_has_the_same_label_at_every_rate() -> None:
    """One second before the end, recorded at 5, 15 and 80 Hz, for a model at 30 Hz."""
    at_one_second = [success_progress(int(fps) + 1, discount(fps, 30))[0] for fps in (5.0, 15.0, 80.0)]
    np.testing.assert_allclose(at_one_second, 2 * GAMMA**30 - 1, atol=1e-6)
    assert discount(80, 80) == GAMMA


def test_recorded_labels_are_taken_as_they_are() -> None:
    column = np.array([[-1.0], [0.5], [1.0]], np.float32)
    assert recorded_labels(column).progress.tolist() == [-1, 0.5, 1]
    with pytest.raises(DatasetError, match=r"between 0 and 100, expected \[-1, 1\]"):
        recorded_labels(np.array([0, 100]))


@pytest.mark.parametrize(
    ("flag", "column", "always", "expected"),
    [
        (None, None, None, (None, None)),
        (None, None, True, (True, None)),
        (None, None, False, (False, None)),
        (False, [0, 0, 1], True, (False, None)),
        (True, [0, 0, 0], None, (True, None)),
        (None, [0, 1, 1], None, (True, 1)),
        (None, [0, 1, 0], None, (False, None)),
        (None, [1, 1, 1], None, (True, None)),
        (None, [0.0, 0.0, 1.0], False, (True, 2)),
    ],
)
def test_who_says_whether_an_episode_succeeded(
    flag: bool | None, column: list[float] | None, always: bool | None, expected: tuple[bool | None, int | None]
) -> None:
    assert success_of(flag, None if column is None else np.array(column), always) == expected
