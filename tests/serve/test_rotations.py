"""Rotations without torch are those of the model's geometry."""

from __future__ import annotations

import numpy as np
import torch

from tau0 import geometry
from tau0.serve.rotations import rotation_of, turn_between, turned


def test_rotations_are_those_of_geometry() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        first, second = rng.normal(size=(2, 6))
        for six in (first, second):
            expected = geometry.rotation_6d_to_matrix(torch.from_numpy(six)).numpy()
            ours = rotation_of(six)
            assert ours is not None
            np.testing.assert_allclose(ours, expected, atol=1e-12)
        a, b = rotation_of(first), rotation_of(second)
        assert a is not None
        assert b is not None
        turn = turn_between(a, b)
        np.testing.assert_allclose(turn, geometry.matrix_to_rotation_vector(torch.from_numpy(a.T @ b)).numpy(), atol=1e-9)
        np.testing.assert_allclose(turned(a, turn), b, atol=1e-9)
    half = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(turned(np.eye(3), turn_between(np.eye(3), half)), half, atol=1e-9)
    assert rotation_of(np.zeros(6)) is None
    assert rotation_of(np.array([1.0, 2, 3, 2, 4, 6])) is None
    assert rotation_of(np.array([1e300, 0, 0, 0, 1e300, 0])) is not None
