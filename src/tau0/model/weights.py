"""Tensors into a model. Every tensor of both sides is accounted for."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from torch import Tensor, nn

Shape = tuple[int, ...]


class WeightsError(ValueError):
    """Tensors that are missing, foreign or of another shape; the message lists them."""


def compare(wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> list[str]:
    """What is missing, foreign or mis-shaped in `given`, a line each; none when all tensors of both sides fit."""
    missing, foreign = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = [f"{n} is {given[n]}, expected {wanted[n]}" for n in wanted if n in given and given[n] != wanted[n]]
    return [f"missing {n}{hint(n, foreign)}" for n in missing] + [f"foreign {n}" for n in foreign] + shapes


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies `tensors` into the module, or where it is on the meta device, gives them to it: one that fits needs no second copy.

    Raises:
        WeightsError: Lists every tensor of `source` that is missing, foreign or mis-shaped; then nothing was loaded.
    """
    lines = compare(shapes_of(module.state_dict()), shapes_of(tensors))
    if lines:
        raise WeightsError(f"{source} does not hold this model:\n  " + "\n  ".join(lines))
    wanted = module.state_dict()
    is_empty = all(tensor.is_meta for tensor in wanted.values())
    given = {name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()}
    module.load_state_dict(given, assign=is_empty)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of every tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def hint(name: str, candidates: Collection[str]) -> str:
    """ " (did you mean ...?)" where a candidate comes close, else nothing."""
    close = difflib.get_close_matches(name, candidates, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
