"""Rotations and poses: quaternion xyzw, rotation-6D, matrices, and poses seen from another pose. Torch only.

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
