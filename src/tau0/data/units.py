"""Numbers that cannot be what a description says they are: millimetres for metres, degrees for radians."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tau0.data.description import Numbers, PartSource, Pose, SourceDescription
from tau0.data.layout import LAYOUTS
from tau0.data.parts import in_units
from tau0.data.table import Columns

FARTHEST_M = 3.0
"""A hand is measured from its own arm's base; the longest arms reach 2 m."""
FASTEST_M_S = 30.0
"""Hands of robots and of people stay below 10 m/s; the rest is room for a glitch, which is no error of units."""
LARGEST_TURN = 4 * np.pi
"""No joint and no angle is turned twice around."""
TYPICAL = 0.95
"""Quantile of an episode's rows that is judged: a few may be glitches, which are no matter of units."""


def unit_faults(description: SourceDescription, rows: Columns, period_s: float) -> list[str]:
    """What cannot be in the units described, in words that name column and range; none where all is well.

    Args:
        description: Of the source.
        rows: The columns of an episode, finite.
        period_s: Nominal time from row to row.
    """
    faults: list[str] = []
    for described in (description.state, description.action, description.advice):
        for part, source in described.items():
            faults += [fault for fault in _part_faults(part, source, rows, period_s) if fault not in faults]
    return faults


def _part_faults(part: str, source: PartSource, rows: Columns, period_s: float) -> list[str]:
    if isinstance(source, Pose):
        faults = [*_far(part, source.position, rows), *_fast(part, source.position, rows, period_s)][:1]
        if source.form in ("euler_xyz", "rotation_vector"):
            faults += _turned(part, source.rotation, rows)
        return faults
    return _turned(part, source, rows) if part in _JOINTS else []


_JOINTS = frozenset(part.name for layout in LAYOUTS.values() for part in layout.parts if part.kind == "joints")


def _far(part: str, source: Numbers, rows: Columns) -> list[str]:
    position = in_units(source, rows)
    if _largest(position) <= FARTHEST_M:
        return []
    return [f"{_named(part, source)} as a position in metres {_range(position)}, expected within {FARTHEST_M:g} m: millimetres?"]


def _fast(part: str, source: Numbers, rows: Columns, period_s: float) -> list[str]:
    steps = np.linalg.norm(np.diff(in_units(source, rows), axis=0), axis=1)
    if not len(steps) or (speed := float(np.quantile(steps, TYPICAL)) / period_s) <= FASTEST_M_S:
        return []
    return [f"{_named(part, source)} moves at {speed:.3g} m/s, expected below {FASTEST_M_S:g}: millimetres, or a wrong clock?"]


def _turned(part: str, source: Numbers, rows: Columns) -> list[str]:
    angles = in_units(source, rows)
    if _largest(angles) <= LARGEST_TURN:
        return []
    return [f"{_named(part, source)} as angles in radians {_range(angles)}, expected within {LARGEST_TURN:.3g}: degrees?"]


def _largest(numbers: NDArray[np.float64]) -> float:
    """What a number is typically at most: no single row decides."""
    return float(np.quantile(np.abs(numbers), TYPICAL, axis=0).max())


def _named(part: str, source: Numbers) -> str:
    return f"{source.feature!r} at {', '.join(map(str, source.at))} ({part})"


def _range(numbers: NDArray[np.float64]) -> str:
    return f"lies between {numbers.min():.4g} and {numbers.max():.4g}"
