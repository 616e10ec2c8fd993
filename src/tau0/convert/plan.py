"""What every tensor of a model will be made of, decided from names and shapes before anything is read. Nothing is left unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce

import torch
from torch import Tensor

from tau0.convert.safetensors_file import Planned
from tau0.convert.sources import TensorSource
from tau0.model.config import WorldModelConfig
from tau0.model.fresh import fresh
from tau0.model.names import Piece, to_ours
from tau0.model.weights import Shape, WeightsError, hint, shapes_of
from tau0.model.world_model import WorldModel

Part = str
"""The first word of our names: trunk, action_expert, conditioning, progress_expert."""


@dataclass(frozen=True, kw_only=True)
class Supply:
    """A source, and what becomes of its parts.

    Attributes:
        source: Published tensors.
        left: Parts that are left behind on purpose: the second trunk, where one trunk serves both.
    """

    source: TensorSource
    left: Collection[Part] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every tensor of one model, and what was not used.

    Attributes:
        tensors: To be written, under our names.
        reinitialised: Our names of those that start anew.
        new_parts: The same in short: a part as a whole where all of it starts anew.
        left: Names in a source that are left behind on purpose, by source.
    """

    tensors: tuple[Planned, ...]
    reinitialised: tuple[str, ...] = ()
    new_parts: tuple[str, ...] = ()
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """What will be written."""
        return sum(planned.num_bytes for planned in self.tensors)


def plan_model(
    config: WorldModelConfig,
    supplies: Sequence[Supply],
    reinitialise: Sequence[str] = (),
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Plan:
    """The plan of a model of this shape.

    Args:
        config: Shape of the model.
        supplies: Where its tensors come from. No two may supply the same one.
        reinitialise: Our names, or beginnings of them up to a dot, that start anew whatever the sources hold.
        dtype: Of every tensor; as in its source where None.
        seed: Of what starts anew.

    Raises:
        WeightsError: Lists every tensor that is missing, foreign or mis-shaped, and every name to reinitialise that is none of the model's.
    """
    with torch.device("meta"):
        model = WorldModel(config)
    wanted = shapes_of(model.state_dict())
    anew = names_under(reinitialise, wanted)
    found: dict[str, tuple[TensorSource, tuple[Piece, ...]]] = {}
    left: dict[str, tuple[str, ...]] = {}
    for supply in supplies:
        offered, behind = _offered(supply)
        if twice := sorted(found.keys() & offered.keys()):
            raise WeightsError(f"{supply.source.path} holds again what another source does: {', '.join(collapsed(twice, wanted))}")
        found |= {name: (supply.source, pieces) for name, pieces in offered.items()}
        left[str(supply.source.path)] = behind
    _account(wanted, found, anew, supplies)
    usual = dtype or _usual_dtype(supplies)
    tensors = [
        Planned(name=name, shape=shape, dtype=usual, make=partial(_fresh, model, name, seed, usual))
        if name in anew
        else _copied(name, shape, *found[name], dtype)
        for name, shape in wanted.items()
    ]
    return Plan(
        tensors=tuple(tensors),
        reinitialised=tuple(sorted(anew)),
        new_parts=tuple(collapsed(anew, wanted)),
        left={path: names for path, names in left.items() if names},
    )


def names_under(beginnings: Sequence[str], names: Collection[str]) -> set[str]:
    """The names that are one of `beginnings` or lie under one. Raises `WeightsError` for a beginning under which there is nothing."""
    chosen: set[str] = set()
    choices = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
    unknown = [f"{beginning}{hint(beginning, sorted(choices))}" for beginning in beginnings if beginning not in choices]
    if unknown:
        raise WeightsError(f"this model has nothing called {', '.join(unknown)}")
    for beginning in beginnings:
        chosen |= {name for name in names if name == beginning or name.startswith(f"{beginning}.")}
    return chosen


def collapsed(names: Collection[str], whole: Collection[str]) -> list[str]:
    """The names; where every tensor of a part in `whole` is among them, one line for that part."""
    sizes = Counter(part_of(name) for name in whole)
    counts = Counter(part_of(name) for name in names)
    complete = {part for part, count in counts.items() if count > 1 and count == sizes[part]}
    parts = [f"{part} (all {sizes[part]} tensors)" for part in sorted(complete)]
    return parts + sorted(name for name in names if part_of(name) not in complete)


def part_of(name: str) -> Part:
    """The part of the model that a tensor of ours belongs to."""
    return name.split(".", 1)[0]


def _offered(supply: Supply) -> tuple[dict[str, tuple[Piece, ...]], tuple[str, ...]]:
    """What the source offers under our names, and the names in it that are left behind."""
    try:
        offered = to_ours(supply.source.shapes)
    except WeightsError as error:
        raise WeightsError(f"{supply.source.path}: {error}") from None
    behind = [piece.name for name, pieces in offered.items() if part_of(name) in supply.left for piece in pieces]
    return {name: pieces for name, pieces in offered.items() if part_of(name) not in supply.left}, tuple(sorted(behind))


def _account(
    wanted: Mapping[str, Shape], found: Mapping[str, tuple[TensorSource, tuple[Piece, ...]]], anew: set[str], supplies: Sequence[Supply]
) -> None:
    """Raises `WeightsError` listing what does not fit."""
    missing = collapsed(wanted.keys() - found.keys() - anew, wanted)
    foreign = collapsed(found.keys() - wanted.keys(), found)
    shapes = sorted(_misfit(name, wanted[name], *found[name]) for name in wanted if name in found and name not in anew)
    shapes = [line for line in shapes if line]
    single = [name for name in foreign if name in found]
    lines = [f"missing {name}{hint(name, single) if name in wanted else ''}" for name in missing]
    lines += [f"foreign {found[name][1][0].name if name in found else name}" for name in foreign] + shapes
    if lines:
        source = " and ".join(str(supply.source.path) for supply in supplies)
        advice = "\nWhat a new embodiment shall learn anew is named with --reinitialise." if missing or shapes else ""
        raise WeightsError(f"{source}: not the tensors of this model.\n  " + "\n  ".join(lines) + advice)


def _misfit(name: str, wanted: Shape, source: TensorSource, pieces: tuple[Piece, ...]) -> str:
    """What is wrong with the shape of a tensor, under our name and the source's; "" where nothing is."""
    found = _shape(source, pieces)
    if found == wanted:
        return ""
    theirs = ", ".join(f"{piece.name} {source.shapes[piece.name]}" for piece in pieces)
    if len(pieces) != 1:
        return f"{name} is {theirs}, expected {wanted} of them together"
    also = "" if pieces[0].name == name else f" ({pieces[0].name} in the file)"
    return f"{name} is {found}, expected {wanted}{also}"


def _shape(source: TensorSource, pieces: tuple[Piece, ...]) -> Shape:
    """Of the pieces one below the other. Unlike pieces have no shape together, which then is found to be wrong."""
    shapes = {source.shapes[piece.name] for piece in pieces}
    if len(shapes) > 1:
        return ()
    shape = shapes.pop()
    return shape if len(pieces) == 1 else (len(pieces) * shape[0], *shape[1:])


def _copied(name: str, shape: Shape, source: TensorSource, pieces: tuple[Piece, ...], dtype: torch.dtype | None) -> Planned:
    kept = reduce(torch.promote_types, (source.dtypes[piece.name] for piece in pieces))
    return Planned(name=name, shape=shape, dtype=dtype or kept, make=partial(_gather, source, pieces, dtype or kept))


def _gather(source: TensorSource, pieces: tuple[Piece, ...], dtype: torch.dtype) -> Tensor:
    """The pieces one below the other."""
    tensors = [_cut(source.read(piece.name), piece.third).to(dtype) for piece in pieces]
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _cut(tensor: Tensor, third: int | None) -> Tensor:
    return tensor if third is None else tensor.chunk(3)[third]


def _fresh(model: WorldModel, name: str, seed: int, dtype: torch.dtype) -> Tensor:
    return fresh(model, name, seed).to(dtype)


def _usual_dtype(supplies: Sequence[Supply]) -> torch.dtype:
    """The one that most tensors have."""
    counts = Counter(dtype for supply in supplies for dtype in supply.source.dtypes.values())
    return counts.most_common(1)[0][0] if counts else torch.float32


def plan_copy(source: TensorSource, pieces: Mapping[str, Piece], dtype: torch.dtype | None = None) -> Plan:
    """The plan that gives every piece its name: the way back, where each published tensor is one of ours or a third of it."""
    tensors = []
    for name, piece in pieces.items():
        shape = source.shapes[piece.name]
        shape = shape if piece.third is None else (shape[0] // 3, *shape[1:])
        tensors.append(_copied(name, shape, source, (piece,), dtype))
    return Plan(tensors=tuple(tensors))
