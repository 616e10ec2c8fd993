"""An order of any number of things that needs no list: where each goes is computed from its place and a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

ROUNDS = 8
"""Even. Four would look random to a statistician, more are cheap."""

MAX_SIZE = 2**62
_WORD = 2**64 - 1
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Multipliers of SplitMix64's last stage (Steele, Lea and Flood 2014), after which every bit depends on every other."""


def permuted(places: Places, size: int, key: Sequence[int]) -> Places:
    """Where a permutation of range(size) sends `places`, same shape. No memory beyond that of the answer.

    Numbers are written as (row, column) of a rectangle hardly larger than `size`; in turn, rows are moved round by an amount that depends
    on the column and columns by one that depends on the row. A number that lands outside goes round again until it is inside, which
    keeps the whole a permutation (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").

    Args:
        places: In [0, size).
        size: At least 1, at most 2^62.
        key: Any numbers >= 0. Another key, another permutation.

    Raises:
        IndexError: When a place is outside.
        ValueError: When `size` is.
    """
    _check_size(size)
    places = np.asarray(places, np.int64)
    if places.size and not 0 <= places.min() <= places.max() < size:
        raise IndexError(f"places run from 0 to {size - 1}, got {places.min()} to {places.max()}")
    moved = _once(places.ravel(), size, key)
    outside = np.flatnonzero(moved >= size)
    while len(outside):
        moved[outside] = _once(moved[outside], size, key)
        outside = outside[moved[outside] >= size]
    return moved.reshape(places.shape)


def permuted_one(place: int, size: int, key: Sequence[int]) -> int:
    """`permuted` of one place, written so that it can be read."""
    _check_size(size)
    rows, columns = _rectangle(size)
    row, column = divmod(place, columns)
    for number, salt in enumerate(_salts(tuple(key))):
        if number % 2:
            column = (column + _scatter_one(row, salt) % columns) % columns
        else:
            row = (row + _scatter_one(column, salt) % rows) % rows
    there = row * columns + column
    return there if there < size else permuted_one(there, size, key)


def _once(places: Places, size: int, key: Sequence[int]) -> Places:
    rows, columns = map(np.uint64, _rectangle(size))
    row, column = np.divmod(places.astype(np.uint64), columns)
    for number, salt in enumerate(_salts(tuple(key))):
        if number % 2:
            column = (column + _scatter(row, salt) % columns) % columns
        else:
            row = (row + _scatter(column, salt) % rows) % rows
    return (row * columns + column).astype(np.int64)


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"a permutation has at least 1 and at most 2^62 places, got {size}")


def _rectangle(size: int) -> tuple[int, int]:
    """Rows and columns, nearly a square, of which at most a row is too much."""
    columns = isqrt(size - 1) + 1
    return -(-size // columns), columns


@lru_cache(maxsize=256)
def _salts(key: tuple[int, ...]) -> tuple[int, ...]:
    """A number of 64 bits for every round."""
    return tuple(np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64).tolist())


def _scatter(numbers: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Numbers of 64 bits that have nothing to do with `numbers`, other than being the same for the same one and salt."""
    mixed = numbers ^ np.uint64(salt)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_SECOND)
    return mixed ^ (mixed >> np.uint64(31))


def _scatter_one(number: int, salt: int) -> int:
    mixed = number ^ salt
    mixed = (mixed ^ (mixed >> 30)) * _FIRST & _WORD
    mixed = (mixed ^ (mixed >> 27)) * _SECOND & _WORD
    return mixed ^ (mixed >> 31)
