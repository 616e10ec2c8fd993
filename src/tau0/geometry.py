"""Rotations and poses: quaternion xyzw, Euler angles, rotation vectors, rotation-6D, matrices, poses seen from another pose. Torch only.

A pose is a position (m) and a rotation matrix. See SPEC.md section 5.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor


def quaternion_to_matrix(q: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation matrices of quaternions in the order x, y, z, w; normalised here."""
    x, y, z, w = (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return rearrange(torch.stack(rows, -1), "... (i j) -> ... i j", i=3)


def matrix_to_quaternion(m: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 4"]:
    """Unit quaternions x, y, z, w with w >= 0.

    Each of the four components can be found from the diagonal; the largest one is, and the others by division (Shepperd 1978).
    """
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    yz, zx, xy = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    sxy, szx, syz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    rows = torch.stack(
        [
            torch.stack([1 + xx - yy - zz, sxy, szx, yz], -1),
            torch.stack([sxy, 1 - xx + yy - zz, syz, zx], -1),
            torch.stack([szx, syz, 1 - xx - yy + zz, xy], -1),
            torch.stack([yz, zx, xy, 1 + xx + yy + zz], -1),
        ],
        -2,
    )
    largest = torch.diagonal(rows, dim1=-2, dim2=-1).argmax(-1)
    q = torch.take_along_dim(rows, repeat(largest, "... -> ... i j", i=1, j=4), dim=-2).squeeze(-2)
    q = q / q.norm(dim=-1, keepdim=True)
    return torch.where(q[..., 3:] < 0, -q, q)


def matrix_to_rotation_6d(m: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 6"]:
    """The first two columns of R, one after the other."""
    return rearrange(m[..., :2], "... i j -> ... (j i)")


def rotation_6d_to_matrix(r: Float[Tensor, "*n 6"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation matrices by Gram-Schmidt; any two independent columns will do (Zhou et al. 2019)."""
    first = torch.nn.functional.normalize(r[..., :3], dim=-1)
    second = r[..., 3:] - (first * r[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def euler_to_matrix(angles: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """`R_z(yaw) R_y(pitch) R_x(roll)` of angles in the order roll, pitch, yaw, in radians: extrinsic turns about x, then y, then z."""
    cx, cy, cz = angles.cos().unbind(-1)
    sx, sy, sz = angles.sin().unbind(-1)
    rows = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    ]  # fmt: skip
    return rearrange(torch.stack(rows, -1), "... (i j) -> ... i j", i=3)


def matrix_to_euler(m: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Inverse of `euler_to_matrix`: roll and yaw in [-pi, pi], pitch in [-pi/2, pi/2].

    Where the pitch is a quarter turn, roll and yaw turn about one axis and only their sum or difference is defined: yaw is 0 there.
    """
    cosine = torch.hypot(m[..., 0, 0], m[..., 1, 0])
    is_locked = cosine < torch.finfo(m.dtype).eps * 16
    pitch = torch.atan2(-m[..., 2, 0], cosine)
    roll = torch.where(is_locked, torch.atan2(-m[..., 1, 2], m[..., 1, 1]), torch.atan2(m[..., 2, 1], m[..., 2, 2]))
    yaw = torch.where(is_locked, torch.zeros_like(pitch), torch.atan2(m[..., 1, 0], m[..., 0, 0]))
    return torch.stack([roll, pitch, yaw], dim=-1)


def rotation_vector_to_matrix(v: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Rotations about the axis `v` by its length, in radians."""
    half = v.norm(dim=-1, keepdim=True) / 2
    return quaternion_to_matrix(torch.cat([torch.sinc(half / torch.pi) * v / 2, half.cos()], dim=-1))


def matrix_to_rotation_vector(m: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Inverse of `rotation_vector_to_matrix`; of the two vectors of a rotation, the one no longer than pi."""
    q = matrix_to_quaternion(m)
    sine = q[..., :3].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[..., 3:])
    return q[..., :3] * torch.where(sine > 0, angle / torch.where(sine > 0, sine, torch.ones_like(sine)), torch.full_like(sine, 2.0))


def rotation_between(start: Float[Tensor, "*n 3 3"], stop: Float[Tensor, "*n 3 3"], share: Float[Tensor, "*n"]) -> Float[Tensor, "*n 3 3"]:
    """The rotation a `share` in [0, 1] of the way from `start` to `stop`, at constant speed by the shorter way (slerp).

    Exactly `start` where the share is 0.
    """
    way = matrix_to_rotation_vector(rearrange(start, "... i j -> ... j i") @ stop)
    part = start @ rotation_vector_to_matrix(rearrange(share, "... -> ... 1") * way)
    return torch.where(rearrange(share == 0, "... -> ... 1 1"), start, part)


def relative_pose(
    p: Float[Tensor, "*n 3"], r: Float[Tensor, "*n 3 3"], p0: Float[Tensor, "*n 3"], r0: Float[Tensor, "*n 3 3"]
) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n 3 3"]]:
    """The pose (p, r) in the frame of (p0, r0): `R0^T (p - p0)`, `R0^T R`."""
    inverse = rearrange(r0, "... i j -> ... j i")
    return torch.einsum("...ij,...j->...i", inverse, p - p0), inverse @ r


def absolute_pose(
    p_rel: Float[Tensor, "*n 3"], r_rel: Float[Tensor, "*n 3 3"], p0: Float[Tensor, "*n 3"], r0: Float[Tensor, "*n 3 3"]
) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n 3 3"]]:
    """Inverse of `relative_pose`: `p0 + R0 p_rel`, `R0 R_rel`."""
    return p0 + torch.einsum("...ij,...j->...i", r0, p_rel), r0 @ r_rel
