"""Rows to the model's instants: by time, bit for bit at the model's own rate, and never across a gap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tau0.data.align import GAP, grid, grid_slowly, numbers_at, rotations_at, stretches
from tau0.data.description import Numbers, Pose, RotationForm
from tau0.data.layout import DUAL_ARM, POSE_NAMES
from tau0.data.parts import at_instants, presence, rotation_matrices
from tau0.geometry import (
    euler_to_matrix,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    matrix_to_rotation_vector,
    rotation_vector_to_matrix,
)

rates = st.sampled_from([5.0, 10.0, 12.5, 30.0, 80.0])
recorded_rates = st.sampled_from([4.0, 5.0, 15.0, 29.97, 30.0, 80.0])
POSE = DUAL_ARM.span("right_pose")


def clock(rows: int, fps: float, jitter: float, seed: int, first_s: float = 3.25) -> NDArray[np.float64]:
    """Time stamps as they are recorded: float32, jittering, not from 0."""
    rng = np.random.default_rng(seed)
    return (first_s + (np.arange(rows) + rng.uniform(-jitter / 2, jitter / 2, rows)) / fps).astype(np.float32).astype(np.float64)


@given(st.integers(1, 60), recorded_rates, rates, st.floats(0, 0.4), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_the_grid_is_what_its_slow_twin_says(rows: int, fps: float, rate_hz: float, jitter: float, seed: int) -> None:
    times_s = clock(rows, fps, jitter, seed)
    fast, slow = grid(times_s, rate_hz, 1 / fps, 7), grid_slowly(times_s.tolist(), rate_hz, 1 / fps, 7)
    np.testing.assert_array_equal(fast.before, slow.before)
    np.testing.assert_array_equal(fast.nearest, slow.nearest)
    np.testing.assert_allclose(fast.share, slow.share, rtol=0, atol=1e-12)
    assert fast.before[0] == 7
    assert fast.share[0] == 0
    assert fast.after.max() <= rows + 6


@given(st.integers(2, 60), recorded_rates, rates, st.floats(0, 0.4), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_what_is_linear_in_time_remains_so(rows: int, fps: float, rate_hz: float, jitter: float, seed: int) -> None:
    times_s = clock(rows, fps, jitter, seed)
    at = grid(times_s, rate_hz, 1 / fps)
    since = times_s - times_s[0]
    values = numbers_at(np.stack([since, 2 - 3 * since], axis=1), at)
    instants = np.arange(len(at)) / rate_hz
    np.testing.assert_allclose(values, np.stack([instants, 2 - 3 * instants], axis=1), atol=3 * 0.02 / fps + 1e-9)
    assert since[-1] - 1 / rate_hz < instants[-1] < since[-1] + 0.03 / fps
    nearest = np.abs(since[None] - instants[:, None]).min(1)
    np.testing.assert_allclose(np.abs(since[at.nearest] - instants), nearest, atol=0.02 / fps + 1e-9)


@given(st.sampled_from([5.0, 10.0, 30.0, 80.0]), st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_the_models_own_rate_is_bit_for_bit(fps: float, seed: int) -> None:
    """Also an hour into the recording, where float32 time stamps are a hundredth of a period off."""
    values = np.random.default_rng(seed).normal(size=(500, 4)).astype(np.float32).astype(np.float64)
    for first_s in (0.0, 0.05, 3600.0):
        at = grid(clock(500, fps, 0, seed, first_s), fps, 1 / fps)
        np.testing.assert_array_equal(at.nearest, np.arange(500))
        np.testing.assert_array_equal(numbers_at(values, at), values)


def test_twice_the_rate_is_a_row_and_a_middle_in_turn() -> None:
    at = grid(np.arange(4) / 5, 10, 1 / 5)
    np.testing.assert_allclose(numbers_at(np.array([[0.0], [2], [4], [0]]), at)[:, 0], [0, 1, 2, 3, 4, 2, 0])
    assert at.nearest.tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_a_third_of_the_rate_takes_every_third_row() -> None:
    at = grid(np.arange(10) / 15, 5, 1 / 15)
    assert at.nearest.tolist() == [0, 3, 6, 9]
    assert not at.share.any()


def test_one_row_is_one_instant() -> None:
    at = grid(np.array([0.3]), 30, 1 / 5)
    assert (at.before.tolist(), at.share.tolist(), at.nearest.tolist()) == ([0], [0.0], [0])


def test_lost_rows_cut_an_episode() -> None:
    times_s = np.array([0.0, 0.1, 0.2, 0.5, 0.6, 1.2])
    assert stretches(times_s, 0.1) == [slice(0, 3), slice(3, 5), slice(5, 6)]
    assert stretches(np.linspace(0, 0.4 * (GAP - 0.01), 5), 0.1) == [slice(0, 5)]


@given(st.integers(0, 999), st.floats(-3, 3), st.floats(0.1, 2.4))
@settings(max_examples=20, deadline=None)
def test_a_constant_turn_remains_constant(seed: int, phase: float, speed: float) -> None:
    """Angles pass pi several times on the way; rotations know nothing of it."""
    axis = np.random.default_rng(seed).normal(size=3)
    axis /= np.linalg.norm(axis)
    times_s = clock(30, 5.0, 0.2, seed, 0.0)
    angle = phase + 5 * speed * (times_s - times_s[0])
    at = grid(times_s, 30, 1 / 5)
    turned = rotations_at(rotation_vector_to_matrix(torch.from_numpy(angle[:, None] * axis)).numpy(), at)
    expected = phase + 5 * speed * np.arange(len(at)) / 30
    wanted = rotation_vector_to_matrix(torch.from_numpy(expected[:, None] * axis)).numpy()
    np.testing.assert_allclose(turned, wanted, atol=5 * speed * 0.025 / 5 + 1e-9)


def test_roll_that_wraps_is_one_small_turn() -> None:
    """From +3.1 to -3.1 it is 0.083 rad by the shorter way, not 6.2."""
    rows = {"pose": np.array([[0, 0, 0, 3.1, 0.1, 0.2], [0, 0, 0, -3.1, 0.1, 0.2]])}
    pose = Pose(position=Numbers(feature="pose", at=(0, 1, 2)), rotation=Numbers(feature="pose", at=(3, 4, 5)), form="euler_xyz")
    middle = at_instants({"right_pose": pose}, DUAL_ARM, rows, grid(np.array([0, 0.2]), 10, 0.2), "state")[1, POSE]
    wanted = matrix_to_rotation_6d(euler_to_matrix(torch.tensor([np.pi, 0.1, 0.2], dtype=torch.float64))).numpy()
    np.testing.assert_allclose(middle[3:], wanted, atol=1e-6)


@pytest.mark.parametrize("form", ["euler_xyz", "quaternion_xyzw", "quaternion_wxyz", "rotation_vector", "rotation_6d"])
def test_every_form_of_a_rotation_is_the_same_rotation(form: RotationForm) -> None:
    angles = torch.from_numpy(np.random.default_rng(0).uniform(-1.4, 1.4, (20, 3)))
    r = euler_to_matrix(angles)
    q = matrix_to_quaternion(r)
    recorded = {
        "euler_xyz": angles,
        "quaternion_xyzw": -3 * q,
        "quaternion_wxyz": q[:, [3, 0, 1, 2]],
        "rotation_vector": matrix_to_rotation_vector(r),
        "rotation_6d": matrix_to_rotation_6d(r),
    }
    np.testing.assert_allclose(rotation_matrices(recorded[form].numpy(), form), r.numpy(), atol=1e-9)


def test_scale_and_offset_and_what_is_not_described() -> None:
    rows = {"hand": np.array([[100.0, 1.0], [300.0, 0.25]], np.float32)}
    described = {"right_gripper": Numbers(feature="hand", at=(1,), scale=-1, offset=1)}
    numbers = at_instants(described, DUAL_ARM, rows, grid(np.array([0, 0.1]), 10, 0.1), "action")
    assert numbers[:, DUAL_ARM.span("right_gripper")].tolist() == [[0.0], [0.75]]
    assert np.flatnonzero(presence(described, DUAL_ARM)).tolist() == [19]
    assert not numbers[:, :19].any()
    assert len(POSE_NAMES) == 9
