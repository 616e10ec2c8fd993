"""Which number of a state or an action means what, for robots of several kinds in one batch (SPEC.md sections 4 and 5)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PartKind = Literal["pose", "joints", "absolute"]
"""How a part is measured: a pose in the frame of the current pose, joints from the current joints, or as it is."""

POSE_NAMES = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32")
"""Position in metres, then rotation-6D: the first two columns of the rotation matrix."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Numbers that belong together, such as one hand's pose.

    Attributes:
        name: Such as "left_pose". Descriptions of sources refer to it.
        kind: How it is measured.
        names: One per number. A pose has the nine of `POSE_NAMES`.
    """

    name: str
    kind: PartKind
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind == "pose" and len(self.names) != len(POSE_NAMES):
            raise ValueError(f"part {self.name!r} is a pose of {len(self.names)} numbers, expected {len(POSE_NAMES)}")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The numbers of a model's state and action, in order. What a robot lacks is masked.

    Attributes:
        name: For people and for mixtures.
        parts: In order.
    """

    name: str
    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """One name per number, such as "left_pose.x"."""
        return tuple(f"{part.name}.{name}" for part in self.parts for name in part.names)

    @property
    def dim(self) -> int:
        """Numbers in all."""
        return len(self.names)

    @property
    def poses(self) -> tuple[int, ...]:
        """First index of every pose."""
        return tuple(self.span(part.name).start for part in self.parts if part.kind == "pose")

    @property
    def absolute(self) -> tuple[int, ...]:
        """Indices of the numbers that are never measured from the state: grippers, head, waist, velocities."""
        return tuple(i for part in self.parts if part.kind == "absolute" for i in range(*self.span(part.name).indices(self.dim)))

    def part(self, name: str) -> Part:
        """The part called `name`. Raises `ValueError` naming the nearest."""
        for part in self.parts:
            if part.name == name:
                return part
        known = [part.name for part in self.parts]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"layout {self.name!r} has no part {name!r}{hint} (it has {', '.join(known)})")

    def span(self, name: str) -> slice:
        """Where a part's numbers are."""
        start = 0
        for part in self.parts:
            if part.name == name:
                return slice(start, start + len(part.names))
            start += len(part.names)
        self.part(name)
        raise AssertionError


def _pose(name: str) -> Part:
    return Part(name=name, kind="pose", names=POSE_NAMES)


def _gripper(name: str) -> Part:
    """1 is closed, 0 open."""
    return Part(name=name, kind="absolute", names=("closed",))


def _joints(name: str, count: int) -> Part:
    """Radians."""
    return Part(name=name, kind="joints", names=tuple(f"j{i}" for i in range(count)))


def _fingers(name: str, count: int) -> Part:
    return Part(name=name, kind="absolute", names=tuple(f"f{i}" for i in range(count)))


DUAL_ARM = Layout(name="dual_arm", parts=(_pose("left_pose"), _gripper("left_gripper"), _pose("right_pose"), _gripper("right_gripper")))
"""The published policy's 20 numbers. A robot with one arm uses the right one."""

WHOLE_BODY = Layout(
    name="whole_body",
    parts=(
        *DUAL_ARM.parts,
        Part(name="head", kind="absolute", names=("yaw", "pitch")),
        Part(name="waist", kind="absolute", names=("pitch", "height")),
        Part(name="base", kind="absolute", names=("forward_velocity", "turning_velocity")),
    ),
)
"""The published simulator's 26 numbers."""

HUMANOID = Layout(
    name="humanoid",
    parts=(
        *WHOLE_BODY.parts,
        _joints("left_arm", 7),
        _joints("right_arm", 7),
        _fingers("left_hand", 6),
        _fingers("right_hand", 6),
    ),
)
"""Arms by pose, by joints, or both, and hands with fingers: 52 numbers."""

METAWORLD = Layout(
    name="metaworld",
    parts=(Part(name="hand", kind="absolute", names=("x", "y", "z")), Part(name="gripper", kind="absolute", names=("effort",))),
)
"""Meta-World's 4 numbers, as they are."""

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in (DUAL_ARM, WHOLE_BODY, HUMANOID, METAWORLD)})
