"""Whether a description is about a dataset, and fits a model's layout: refused in one sentence before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tau0.contract import ContractError
from tau0.data.description import Numbers, PartSource, Pose, SourceDescription
from tau0.data.info import suggest
from tau0.data.layout import LAYOUTS, Layout, Part
from tau0.data.parts import ROTATION_NUMBERS

if TYPE_CHECKING:
    from tau0.data.episodes import Dataset

EVERY_PART = {part.name: part for layout in LAYOUTS.values() for part in layout.parts}


def check_description(description: SourceDescription, dataset: Dataset) -> None:
    """Refuses a dataset that is not the one described.

    Raises:
        ContractError: When a camera or a column is missing, or has another size. The first that differs is named, with the nearest choice.
    """
    for name in _features(description):
        if name not in dataset.features:
            there = {known: feature for known, feature in dataset.features.items() if not feature.is_camera}
            raise _misfit(description, dataset, f"it has no feature {name!r}{suggest(name, there)}, only {', '.join(there)}")
    for name, size in description.sizes.items():
        found = int(np.prod(dataset.features[name].shape))
        if found != size:
            better = [known for known, feature in dataset.features.items() if not feature.is_camera and int(np.prod(feature.shape)) == size]
            hint = f" (did you mean {better[0]!r}?)" if better else ""
            raise _misfit(description, dataset, f"feature {name!r} has {found} numbers, expected {size}{hint}")
    for source in _numbers(description):
        found = int(np.prod(dataset.features[source.feature].shape))
        if max(source.at) >= found:
            raise _misfit(description, dataset, f"feature {source.feature!r} has {found} numbers, number {max(source.at)} is described")
    for role, camera in description.cameras.items():
        if camera not in dataset.cameras:
            hint = suggest(camera, dict.fromkeys(dataset.cameras))
            known = ", ".join(dataset.cameras) or "none"
            raise _misfit(description, dataset, f"it has no camera {camera!r}{hint} for the role {role!r}, it has {known}")


def check_layout(description: SourceDescription, layout: Layout) -> None:
    """Refuses a description that says something about a layout which cannot be.

    A part that another layout has is something of the robot that this model does not know: it is left out. One that no layout has is a
    slip of the pen.

    Raises:
        ContractError: When a part does not exist, has another number of columns, is of another kind, or is measured from a state that is
            not described; or when a source that shall supervise actions has none that the layout knows.
    """
    known = {**EVERY_PART, **{part.name: part for part in layout.parts}}
    for what in ("state", "action", "advice"):
        for name, source in getattr(description, what).items():
            where = f"description {description.name!r}: {what} {name!r}"
            if name not in known:
                raise ContractError(f"{where} is a part of no layout{suggest(name, known)}; there are {', '.join(known)}")
            _check_part(where, known[name], source)
            if what != "state" and known[name].kind != "absolute" and name not in description.state:
                raise ContractError(f"{where} is measured from the state, but no state {name!r} is described")
    names = {part.name for part in layout.parts}
    if description.action and {"action", "dynamics"} & set(description.supervises) and not names & set(description.action):
        fitting = [other.name for other in LAYOUTS.values() if set(description.action) & {part.name for part in other.parts}]
        hint = f"; {' or '.join(fitting)} would" if fitting else ""
        raise ContractError(
            f"layout {layout.name!r} has none of the parts that {description.name!r} acts with ({', '.join(description.action)}){hint}"
        )


def _check_part(where: str, part: Part, source: PartSource) -> None:
    if isinstance(source, Pose):
        if part.kind != "pose":
            raise ContractError(f"{where} is {len(part.names)} numbers, not a pose: give `feature` and `at`")
        counts = {"position": (source.position, 3), "rotation": (source.rotation, ROTATION_NUMBERS[source.form])}
        for name, (numbers, count) in counts.items():
            if len(numbers.at) != count:
                raise ContractError(f"{where} has a {name} of {len(numbers.at)} numbers, expected {count}")
        return
    if part.kind == "pose":
        raise ContractError(f"{where} is a pose: give `position`, `rotation` and `form`, so that rotations are treated as such")
    if len(source.at) != len(part.names):
        raise ContractError(f"{where} has {len(source.at)} numbers, expected {len(part.names)}: {', '.join(part.names)}")


def _features(description: SourceDescription) -> tuple[str, ...]:
    """Every column that a description names, each once."""
    flags = [name for name in (description.progress, success_column(description)) if name is not None]
    return tuple(dict.fromkeys([*(own.feature for own in _numbers(description)), *description.sizes, *flags]))


def success_column(description: SourceDescription) -> str | None:
    """The column that says whether an episode succeeded, None where there is none."""
    return None if description.success in (None, "all", "none") else description.success


def _numbers(description: SourceDescription) -> list[Numbers]:
    parts = [*description.state.values(), *description.action.values(), *description.advice.values()]
    return [own for part in parts for own in ((part.position, part.rotation) if isinstance(part, Pose) else (part,))]


def _misfit(description: SourceDescription, dataset: Dataset, difference: str) -> ContractError:
    return ContractError(f"dataset {dataset.root} is not what {description.name!r} describes: {difference}")
