from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.geometry import (
    absolute_pose,
    euler_to_matrix,
    matrix_to_euler,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    matrix_to_rotation_vector,
    quaternion_to_matrix,
    relative_pose,
    rotation_6d_to_matrix,
    rotation_between,
    rotation_vector_to_matrix,
)

seeds = st.integers(0, 2**31)
EYE = torch.eye(3, dtype=torch.float64)


def rotations(seed: int, num: int = 8) -> torch.Tensor:
    """Random rotation matrices."""
    return quaternion_to_matrix(torch.randn(num, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def positions(seed: int, num: int = 8) -> torch.Tensor:
    """Random positions, metres."""
    return torch.randn(num, 3, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)


def test_quarter_turn_about_z_in_xyzw():
    q = torch.tensor([0.0, 0.0, 0.5**0.5, 0.5**0.5])
    torch.testing.assert_close(quaternion_to_matrix(q), torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_matrices_are_rotations(seed: int):
    r = rotations(seed)
    torch.testing.assert_close(r @ r.mT, EYE.expand_as(r))
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(len(r), dtype=torch.float64))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_quaternions_there_and_back(seed: int):
    r = rotations(seed)
    q = matrix_to_quaternion(r)
    assert (q[:, 3] >= 0).all()
    torch.testing.assert_close(quaternion_to_matrix(q), r)
    torch.testing.assert_close(matrix_to_quaternion(quaternion_to_matrix(-q)), q)


def test_quaternions_of_half_turns():
    """Where w is 0 and the usual formula divides by it."""
    q = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0.6, 0.8, 0, 0], [0, 0, 0, 1.0]], dtype=torch.float64)
    r = quaternion_to_matrix(q)
    torch.testing.assert_close(quaternion_to_matrix(matrix_to_quaternion(r)), r)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_rotation_6d_there_and_back(seed: int):
    r = rotations(seed)
    six = matrix_to_rotation_6d(r)
    torch.testing.assert_close(six, torch.cat([r[:, :, 0], r[:, :, 1]], dim=1))
    torch.testing.assert_close(rotation_6d_to_matrix(six), r)


@given(seeds, st.floats(0.1, 10.0), st.floats(-3.0, 3.0))
@settings(max_examples=20, deadline=None)
def test_rotation_6d_need_not_be_orthonormal(seed: int, scale: float, skew: float):
    r = rotations(seed)
    first, second = r[:, :, 0], r[:, :, 1]
    torch.testing.assert_close(rotation_6d_to_matrix(torch.cat([scale * first, second + skew * first], dim=1)), r)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_relative_poses_form_a_group(seed: int):
    (pa, ra), (pb, rb), (pc, rc) = ((positions(seed + k), rotations(seed + k)) for k in (0, 10, 20))
    here = relative_pose(pa, ra, pa, ra)
    torch.testing.assert_close(here[0], torch.zeros_like(pa))
    torch.testing.assert_close(here[1], EYE.expand_as(ra))
    torch.testing.assert_close(absolute_pose(*relative_pose(pb, rb, pa, ra), pa, ra), (pb, rb))
    by_steps = absolute_pose(*relative_pose(pc, rc, pb, rb), *relative_pose(pb, rb, pa, ra))
    torch.testing.assert_close(by_steps, relative_pose(pc, rc, pa, ra))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_relative_pose_does_not_depend_on_the_world(seed: int):
    (p, r), (p0, r0), (shift, turn) = ((positions(seed + k), rotations(seed + k)) for k in (0, 10, 20))
    moved = relative_pose(*absolute_pose(p, r, shift, turn), *absolute_pose(p0, r0, shift, turn))
    torch.testing.assert_close(moved, relative_pose(p, r, p0, r0))


def about(axis: int, angle: float) -> torch.Tensor:
    """A turn about one axis of the world."""
    v = torch.zeros(3, dtype=torch.float64)
    v[axis] = angle
    return torch.linalg.matrix_exp(torch.tensor([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]], dtype=torch.float64))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_euler_angles_turn_about_the_worlds_axes_x_first(seed: int):
    angles = 6 * torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 3
    roll, pitch, yaw = angles.tolist()
    torch.testing.assert_close(euler_to_matrix(angles), about(2, yaw) @ about(1, pitch) @ about(0, roll))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_euler_angles_there_and_back(seed: int):
    r = rotations(seed)
    angles = matrix_to_euler(r)
    torch.testing.assert_close(euler_to_matrix(angles), r)
    assert (angles[:, 1].abs() <= torch.pi / 2).all()


def test_euler_angles_where_roll_and_yaw_turn_about_one_axis():
    angles = torch.tensor([[0.3, torch.pi / 2, 0.8], [-1.0, -torch.pi / 2, 0.4]], dtype=torch.float64)
    r = euler_to_matrix(angles)
    torch.testing.assert_close(euler_to_matrix(matrix_to_euler(r)), r)


@given(seeds, st.sampled_from([1e-9, 1e-3, 1.0, 3.0, torch.pi - 1e-9]))
@settings(max_examples=30, deadline=None)
def test_rotation_vectors_there_and_back(seed: int, length: float):
    axis = torch.nn.functional.normalize(positions(seed), dim=-1)
    torch.testing.assert_close(matrix_to_rotation_vector(rotation_vector_to_matrix(length * axis)), length * axis)
    r = rotations(seed)
    torch.testing.assert_close(rotation_vector_to_matrix(matrix_to_rotation_vector(r)), r)


def test_a_rotation_vector_of_no_length():
    none = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(rotation_vector_to_matrix(none), EYE)
    assert torch.equal(matrix_to_rotation_vector(EYE), none)


@given(seeds, st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_between_rotations_the_speed_is_constant(seed: int, share: float):
    start, stop = rotations(seed), rotations(seed + 10)
    part = rotation_between(start, stop, torch.full((8,), share, dtype=torch.float64))
    whole = matrix_to_rotation_vector(start.mT @ stop)
    torch.testing.assert_close(matrix_to_rotation_vector(start.mT @ part), share * whole)
    assert torch.equal(rotation_between(start, stop, torch.zeros(8, dtype=torch.float64)), start)
    torch.testing.assert_close(rotation_between(start, stop, torch.ones(8, dtype=torch.float64)), stop)
