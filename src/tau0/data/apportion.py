"""How many samples each of several pools gives, so that every one has its share of all that were ever taken."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

_SCALE = 2**48
"""Weights are whole numbers of this fraction of their sum, so that no rounding depends on the machine."""


class Apportionment:
    """Shares out a sequence of samples among pools: a pure function of how many there were so far.

    The pools are the leaves of a Huffman tree. At every fork the samples that arrive are dealt to two sides, each of which has its share of
    them rounded to the nearest whole number. So counts only grow, they add up, and no pool is ever two samples off its exact share: a fork
    is at most half a sample off, of which a leaf gets its part, and forks grow at least like Fibonacci's numbers towards the root:
    (1 + 1 + 1/2 + 1/3 + 1/5 + ..) / 2 < 1.7. A pool whose share of a batch is whole gives as many in every batch.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        """Shares in proportion to `weights`, at least one.

        Raises:
            ValueError: When there is none, or one is not a number above 0.
        """
        if not weights or not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(f"expected weights above 0, at least one, got {list(weights)}")
        total = sum(weights)
        whole = [max(1, round(weight / total * _SCALE)) for weight in weights]
        self._forks = _huffman(whole)
        self._weights = [*whole, *(whole_left + whole_right for _, _, whole_left, whole_right in self._forks)]
        self._num = len(whole)

    def before(self, samples: int) -> NDArray[np.int64]:
        """How many of the first `samples` samples each pool gave, shape (pools,). Adds up to `samples`."""
        given = [0] * len(self._weights)
        given[-1] = samples
        for i in reversed(range(len(self._forks))):
            left, right, weight, other = self._forks[i]
            arrived, both = given[self._num + i], weight + other
            given[left] = (2 * arrived * weight + both) // (2 * both)
            given[right] = arrived - given[left]
        return np.array(given[: self._num], np.int64)


def _huffman(weights: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Forks from the lightest to the root: nodes of both sides, and their weights. Nodes from len(weights) on are the forks."""
    numbers = count(len(weights))
    heap = [(weight, node) for node, weight in enumerate(weights)]
    heapq.heapify(heap)
    forks = []
    while len(heap) > 1:
        (weight, left), (other, right) = heapq.heappop(heap), heapq.heappop(heap)
        forks.append((left, right, weight, other))
        heapq.heappush(heap, (weight + other, next(numbers)))
    return forks
