"""What a dataset means: which columns are which arm, which camera plays which role, and what it may supervise (SPEC.md section 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

import pydantic

SourceKind = Literal["teleoperation", "umi", "egocentric", "rollout"]
Signal = Literal["video", "action", "dynamics", "progress"]
"""The future's pictures; what the policy imitates; executed actions as the simulator's input; progress labels."""
SIGNALS: tuple[Signal, ...] = get_args(Signal)
RotationForm = Literal["euler_xyz", "quaternion_xyzw", "quaternion_wxyz", "rotation_vector", "rotation_6d"]
"""Euler angles are extrinsic about x, y, z, in radians."""

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True)
"""A field that does not exist is a slip of the pen, never something to pass over."""

MAY_SUPERVISE: Mapping[SourceKind, tuple[Signal, ...]] = {
    "teleoperation": ("video", "action", "dynamics", "progress"),
    "umi": ("video", "action", "dynamics", "progress"),
    "egocentric": ("video",),
    "rollout": ("video", "dynamics", "progress"),
}


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Some numbers of a feature: `scale * x + offset` is what the model's layout wants.

    Attributes:
        feature: Column of the dataset, such as "observation.state".
        at: Which of its numbers, in the order of the part.
        scale: Such as 0.001 for millimetres, or pi / 180 for degrees.
        offset: Added after scaling; `scale=-1, offset=1` turns 1 = open into 1 = closed.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    feature: str
    at: tuple[int, ...]
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.at or min(self.at) < 0 or len(set(self.at)) != len(self.at):
            raise ValueError(f"numbers {list(self.at)} of {self.feature!r}: expected at least one, from 0, none twice")
        if not (math.isfinite(self.scale) and math.isfinite(self.offset)) or self.scale == 0:
            raise ValueError(f"{self.feature!r} has scale {self.scale} and offset {self.offset}, expected finite numbers and a scale not 0")


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A hand's pose.

    Attributes:
        position: Three numbers, to metres.
        rotation: Three, four or six numbers, to radians where they are angles.
        form: What the rotation's numbers are.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    position: Numbers
    rotation: Numbers
    form: RotationForm


PartSource = Annotated[
    Annotated[Numbers, pydantic.Tag("numbers")] | Annotated[Pose, pydantic.Tag("pose")],
    pydantic.Discriminator(lambda part: "pose" if "position" in (part if isinstance(part, dict) else vars(part)) else "numbers"),
]


@dataclass(frozen=True, kw_only=True)
class SourceDescription:
    """One dataset, in words that a model understands.

    Attributes:
        name: For people and reports.
        kind: Where it comes from. It bounds what may be supervised, see `MAY_SUPERVISE`.
        embodiment: The robot's name. Sources of one embodiment share their statistics.
        cameras: Role to the dataset's camera name, such as {"head": "exterior_1"}. A role that is not there is masked.
        sizes: How many numbers each feature must have, so that another dataset is not mistaken for this one.
        state: Parts of the layout that are measured, each with its columns.
        action: Parts that are executed; none for a source without actions.
        advice: Parts that should have been done, where the recording knows better than what was executed; else the action.
        supervises: Signal to its weight, above 0, at least one. What is not listed is masked.
        progress: Column with labels in [-1, 1] that are already there; None to make them from segments and success.
        success: Column whose last row of an episode says whether it succeeded; "all" or "none" when they all did or did not; None
            where nobody knows. The recording's own flag of an episode goes first.
        clock: "timestamps" where those can be trusted; "frames" where rows are evenly spaced by the nominal rate.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STRICT

    name: str
    kind: SourceKind
    embodiment: str
    cameras: Mapping[str, str]
    sizes: Mapping[str, int] = field(default_factory=dict)
    state: Mapping[str, PartSource] = field(default_factory=dict)
    action: Mapping[str, PartSource] = field(default_factory=dict)
    advice: Mapping[str, PartSource] = field(default_factory=dict)
    supervises: Mapping[Signal, float] = field(default_factory=lambda: {"video": 1.0})
    progress: str | None = None
    success: str | None = None
    clock: Literal["timestamps", "frames"] = "timestamps"

    def __post_init__(self) -> None:
        if not self.supervises:
            raise ValueError(f"source {self.name!r} supervises nothing; {self.kind} may supervise {', '.join(MAY_SUPERVISE[self.kind])}")
        for signal, weight in self.supervises.items():
            if signal not in MAY_SUPERVISE[self.kind]:
                allowed = ", ".join(MAY_SUPERVISE[self.kind])
                raise ValueError(f"source {self.name!r} is {self.kind} and may supervise {allowed}, not {signal}")
            if not 0 < weight < math.inf:
                raise ValueError(f"source {self.name!r} gives {signal} the weight {weight}, expected above 0; leave it out to mask it")
        for signal in ("action", "dynamics"):
            if signal in self.supervises and not self.action:
                raise ValueError(f"source {self.name!r} shall supervise {signal}, but no part of `action` is described")
