"""Progress labels, SPEC.md section 4: how near the end of a successful segment each step is, discounted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Float

GAMMA = 0.99
"""Half of the way from -1 to 1 is passed 69 steps before the end: nearer to the end than any failure for most of an episode, and still
0.03 a step apart where chunks are ranked."""
FAILED = -1.0


def success_progress(steps: int, gamma: float = GAMMA) -> Float:
    """`2 gamma^(T-1-t) - 1` for t = 0 .. T-1 of a segment of `steps` = T steps that succeeded; the last is 1. Shape (steps,)."""
    remaining = np.arange(steps - 1, -1, -1, dtype=np.float64)
    return (2.0 * gamma**remaining - 1.0).astype(np.float32)


def failed_progress(steps: int) -> Float:
    """-1 at every step of a segment that failed. Shape (steps,)."""
    return np.full(steps, FAILED, np.float32)


def window_progress(steps: int, segment_steps: int, gamma: float = GAMMA) -> Float:
    """The first `steps` labels of a successful segment of `segment_steps` steps, of which the window may show only the start, or
    which it may outlast (then the label stays 1). Shape (steps,)."""
    remaining = np.maximum(segment_steps - 1 - np.arange(steps, dtype=np.float64), 0.0)
    return (2.0 * gamma**remaining - 1.0).astype(np.float32)


def aligned_progress(sample_indices: NDArray[np.int64], valid_indices: NDArray[np.int64], valid_returns: NDArray[np.float64]) -> Float:
    """Labels of sampled frames: a frame inside the labelled segment gets its own label, every other one -1.

    Args:
        sample_indices: Frames of the dataset that were sampled, shape (n,).
        valid_indices: Frames of the dataset that have a label, ascending, shape (k,).
        valid_returns: Their labels in [-1, 1], shape (k,).

    Returns:
        One label for each sampled frame, shape (n,).
    """
    position = np.clip(np.searchsorted(valid_indices, sample_indices), 0, len(valid_indices) - 1)
    inside = valid_indices[position] == sample_indices
    return np.where(inside, valid_returns[position], FAILED).astype(np.float32)
