from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau0.data.shuffle import permuted, permuted_one

KEYS = st.tuples(st.integers(0, 2**63), st.integers(0, 100))


def order(size: int, *key: int) -> np.ndarray:
    return permuted(np.arange(size), size, key)


@pytest.mark.parametrize("size", [*range(1, 300), 4096, 4097, 65_535, 65_537])
def test_every_place_is_taken_once(size: int) -> None:
    assert (np.sort(order(size, size)) == np.arange(size)).all()


@given(st.integers(1, 20_000), KEYS)
def test_every_place_is_taken_once_whatever_the_size_and_key(size: int, key: tuple[int, int]) -> None:
    assert (np.sort(permuted(np.arange(size), size, key)) == np.arange(size)).all()


@given(st.integers(1, 2**62), KEYS, st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=5, unique=True))
def test_the_fast_path_agrees_with_its_readable_twin(size: int, key: tuple[int, int], places: list[int]) -> None:
    inside = np.array([place % size for place in places])
    there = permuted(inside, size, key)
    assert there.tolist() == [permuted_one(int(place), size, key) for place in inside]
    assert 0 <= there.min() <= there.max() < size
    assert len(set(there.tolist())) == len(set(inside.tolist()))


def test_a_place_does_not_depend_on_who_else_asks() -> None:
    whole = order(1000, 7)
    assert permuted(np.array([[3, 999], [0, 3]]), 1000, (7,)).tolist() == [[whole[3], whole[999]], [whole[0], whole[3]]]
    assert permuted(np.zeros(0, np.int64), 1000, (7,)).shape == (0,)


def test_another_key_is_another_order() -> None:
    orders = [order(1000, seed, epoch) for seed in range(3) for epoch in range(3)]
    for first, second in pairwise(orders):
        assert (first == second).sum() < 10


def test_every_order_of_few_things_occurs_equally_often() -> None:
    seen = Counter(tuple(order(4, key).tolist()) for key in range(1200))
    assert len(seen) == 24
    assert sum((count - 50) ** 2 / 50 for count in seen.values()) < 45


@pytest.mark.parametrize("size", [10, 64])
def test_every_place_is_reached_from_every_other_equally_often(size: int) -> None:
    times = 20
    counts = np.zeros((size, size))
    for key in range(times * size):
        counts[np.arange(size), order(size, key)] += 1
    squares = (counts - times) ** 2 / times
    assert squares.max() < 36
    assert abs(squares.sum() / (size - 1) ** 2 - 1) < 5 * np.sqrt(2) / (size - 1)


def test_neighbours_part() -> None:
    distance = np.abs(np.diff(order(100_000, 1)))
    assert abs(distance.mean() / (100_000 / 3) - 1) < 0.02
    assert (distance == 1).sum() < 12


def test_what_is_outside_is_refused() -> None:
    with pytest.raises(IndexError, match="places run from 0 to 9, got 3 to 10"):
        permuted(np.array([3, 10]), 10, (0,))
    with pytest.raises(ValueError, match="at least 1 and at most"):
        permuted(np.zeros(0, np.int64), 0, (0,))
