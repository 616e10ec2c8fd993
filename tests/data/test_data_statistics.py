from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau0.data.statistics import RunningStatistics, Statistics


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 2**31), st.floats(-1e4, 1e4))
def test_blocks_give_what_one_pass_over_everything_gives(sizes: list[int], seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.normal(offset, 0.1, (size, 3)) for size in [*sizes, 2]]
    running = RunningStatistics(3)
    for block in blocks:
        running.add(block)
    rows = np.concatenate(blocks)
    statistics = running.result()
    assert statistics.count == len(rows)
    np.testing.assert_allclose(statistics.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(statistics.std, rows.std(0), rtol=1e-8)


def test_merging_two_streams_equals_one_stream() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    left, right, both = RunningStatistics(2), RunningStatistics(2), RunningStatistics(2)
    left.add(rows[:13])
    right.add(rows[13:])
    both.add(rows)
    left.merge(right)
    np.testing.assert_allclose(left.result().std, both.result().std, rtol=1e-12)


def test_json_round_trip_is_exact() -> None:
    statistics = Statistics(mean=(0.1, -1 / 3), std=(1e-3, 2.0 / 7), count=12)
    assert Statistics.from_json(statistics.to_json()) == statistics


def test_json_without_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match="mean, std and count"):
        Statistics.from_json('{"mean": [0.0], "std": [1.0]}')


def test_a_constant_dimension_is_named() -> None:
    running = RunningStatistics(2)
    running.add([[0.0, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match=r"dimension 1 \('gripper'\) is constant over 2 rows"):
        running.result(("x", "gripper"))
    with pytest.raises(ValueError, match="dimension 1 has a standard deviation of 0"):
        Statistics(mean=(0.0, 0.0), std=(1.0, 0.0), count=2)


def test_bad_rows_are_refused() -> None:
    running = RunningStatistics(2)
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        running.add([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="row 1 of the block is not finite"):
        running.add([[1.0, 2.0], [np.nan, 2.0]])
    with pytest.raises(ValueError, match="at least 2 rows, got 0"):
        running.result()
