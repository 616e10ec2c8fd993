"""The numbers of a model's layout out of the columns that a description names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from tau0.data.align import Grid, numbers_at, rotations_at
from tau0.data.description import Numbers, PartSource, Pose, RotationForm
from tau0.data.info import DatasetError
from tau0.data.layout import Layout
from tau0.data.table import Columns
from tau0.geometry import euler_to_matrix, matrix_to_rotation_6d, quaternion_to_matrix, rotation_6d_to_matrix, rotation_vector_to_matrix

ROTATION_NUMBERS: Mapping[RotationForm, int] = {
    "euler_xyz": 3,
    "quaternion_xyzw": 4,
    "quaternion_wxyz": 4,
    "rotation_vector": 3,
    "rotation_6d": 6,
}
_XYZW_OF_WXYZ = [1, 2, 3, 0]


def presence(described: Mapping[str, PartSource], layout: Layout) -> NDArray[np.bool_]:
    """Which numbers of the layout are described, shape (dim,)."""
    mask = np.zeros(layout.dim, np.bool_)
    for part in layout.parts:
        mask[layout.span(part.name)] = part.name in described
    return mask


def at_instants(described: Mapping[str, PartSource], layout: Layout, rows: Columns, at: Grid, what: str) -> NDArray[np.float32]:
    """The layout's numbers at the instants of a grid, shape (n, dim): absolute, in the layout's units, 0 where nothing is described.

    Args:
        described: Parts of the layout to their columns.
        layout: Where each part's numbers go.
        rows: The columns of an episode.
        at: The instants.
        what: "state", "action" or "advice", for the error.

    Raises:
        DatasetError: When a number is not finite after conversion.
    """
    numbers = np.zeros((len(at), layout.dim), np.float32)
    for part in layout.parts:
        if part.name not in described:
            continue
        source = described[part.name]
        values = _pose(source, rows, at) if isinstance(source, Pose) else numbers_at(in_units(source, rows), at)
        with np.errstate(over="ignore"):
            numbers[:, layout.span(part.name)] = values
        if not np.isfinite(numbers[:, layout.span(part.name)]).all():
            raise DatasetError(f"{what} {part.name!r} is not finite once it is converted: a quaternion of length 0, or a number too large")
    return numbers


def in_units(source: Numbers, rows: Columns) -> NDArray[np.float64]:
    """Described numbers of every row in the layout's units, shape (rows, count)."""
    column = np.asarray(rows[source.feature])
    picked = column.reshape(len(column), -1)[:, list(source.at)].astype(np.float64)
    return picked * source.scale + source.offset


def rotation_matrices(numbers: NDArray[np.float64], form: RotationForm) -> NDArray[np.float64]:
    """Matrices (rows, 3, 3) of rotations in the form in which they were recorded."""
    rotation = torch.from_numpy(np.ascontiguousarray(numbers))
    if form == "quaternion_wxyz":
        rotation = rotation[:, _XYZW_OF_WXYZ]
    convert = {
        "euler_xyz": euler_to_matrix,
        "quaternion_xyzw": quaternion_to_matrix,
        "quaternion_wxyz": quaternion_to_matrix,
        "rotation_vector": rotation_vector_to_matrix,
        "rotation_6d": rotation_6d_to_matrix,
    }
    return convert[form](rotation).numpy()


def _pose(source: Pose, rows: Columns, at: Grid) -> NDArray[np.float64]:
    """Position and rotation-6D, shape (n, 9). Angles become rotations first, so that where they wrap never matters."""
    position = numbers_at(in_units(source.position, rows), at)
    rotation = rotations_at(rotation_matrices(in_units(source.rotation, rows), source.form), at)
    return np.concatenate([position, matrix_to_rotation_6d(torch.from_numpy(rotation)).numpy()], axis=1)
