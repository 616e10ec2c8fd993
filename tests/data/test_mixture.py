"""Who gives how many samples: apportionment, weights, and the mixture as people write it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau0.data.apportion import Apportionment

WEIGHTS = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=12)


@given(WEIGHTS, st.integers(1, 64), st.integers(0, 10_000))
def test_every_pool_is_always_within_two_samples_of_its_share(weights: list[float], batch: int, first: int) -> None:
    dealt = Apportionment(weights)
    exact = np.array(weights) / sum(weights)
    given_so_far = [dealt.before(step * batch) for step in range(first, first + 20)]
    for step, given_ in enumerate(given_so_far, start=first):
        assert given_.sum() == step * batch
        assert (abs(given_ - step * batch * exact) < 2).all()
    assert (np.diff(given_so_far, axis=0) >= 0).all()


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 10**9))
def test_whole_shares_are_the_same_in_every_batch(counts: list[int], times: int, step: int) -> None:
    dealt, batch = Apportionment([count / 7 for count in counts]), sum(counts) * times
    assert (dealt.before((step + 1) * batch) - dealt.before(step * batch)).tolist() == [count * times for count in counts]


def test_a_rare_pool_is_seen_though_its_share_of_a_batch_is_below_one() -> None:
    dealt = Apportionment([0.999, 0.001])
    steps = [int(dealt.before((step + 1) * 8)[1] - dealt.before(step * 8)[1]) for step in range(1000)]
    assert sum(steps) == 8
    assert set(steps) == {0, 1}


def test_many_pools_are_exact_after_a_billion_samples() -> None:
    weights = np.random.default_rng(0).lognormal(0, 3, 300)
    assert abs(Apportionment(weights.tolist()).before(10**9) - 10**9 * weights / weights.sum()).max() < 2


@pytest.mark.parametrize("weights", [[], [1.0, 0.0], [1.0, float("nan")], [float("inf")]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights above 0"):
        Apportionment(weights)
