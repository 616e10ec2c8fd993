"""Rotation-6D without torch: `tau0.geometry` for a robot's loop, which has one rotation at a time. A test compares the two."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NO_DIRECTION = 1e-6
"""A column shorter than this points nowhere."""


def rotation_of(numbers: Array) -> Array | None:
    """The rotation matrix (3, 3) whose first two columns are nearly these six numbers (Gram-Schmidt); None where they say nothing.

    Args:
        numbers: Finite, shape (6,): one column after the other.
    """
    first, second = _direction(numbers[:3]), numbers[3:]
    if first is None:
        return None
    largest = max(float(np.abs(second).max()), 1.0)
    across = _direction(second / largest - (first @ (second / largest)) * first, NO_DIRECTION / largest)
    if across is None:
        return None
    across = across - (first @ across) * first
    across = across / np.linalg.norm(across)
    return np.stack([first, across, np.cross(first, across)], axis=1)


def six_numbers(rotation: Array) -> Array:
    """Inverse of `rotation_of`: the first two columns, shape (6,)."""
    return rotation[:, :2].T.ravel()


def turn_between(start: Array, stop: Array) -> Array:
    """The rotation vector (3,) by which `start` turns into `stop`, in the frame of `start`, at most pi long."""
    way = start.T @ stop
    axis = np.array([way[2, 1] - way[1, 2], way[0, 2] - way[2, 0], way[1, 0] - way[0, 1]]) / 2
    sine, cosine = float(np.linalg.norm(axis)), (float(np.trace(way)) - 1) / 2
    angle = math.atan2(sine, cosine)
    if sine > NO_DIRECTION:
        return axis * (angle / sine)
    if cosine > 0:
        return axis
    squares = np.clip((np.diag(way) + 1) / 2, 0, None)
    pivot = int(squares.argmax())
    direction = (way[pivot] + np.eye(3)[pivot]) / 2
    return math.pi * direction / np.linalg.norm(direction)


def turned(start: Array, turn: Array) -> Array:
    """`start` turned by a rotation vector given in its own frame (Rodrigues), inverse of `turn_between`."""
    angle = float(np.linalg.norm(turn))
    x, y, z = turn
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    half = angle / 2
    bend = 0.5 * np.sinc(half / math.pi) ** 2
    return start @ (np.eye(3) + np.sinc(angle / math.pi) * cross + bend * cross @ cross)


def _direction(vector: Array, shortest: float = NO_DIRECTION) -> Array | None:
    """The vector at length 1, however long it was; None where it is shorter than `shortest`."""
    largest = float(np.abs(vector).max())
    if largest < shortest:
        return None
    scaled = vector / largest
    return scaled / np.linalg.norm(scaled)
