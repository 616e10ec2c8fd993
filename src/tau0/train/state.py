"""Everything a run needs to go on: weights, their average, the optimiser, and the step. Written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tau0.checkpoint import CheckpointError
from tau0.folders import recover_files, save_files
from tau0.model.weights import load_exactly
from tau0.train.agreement import first_says
from tau0.train.parallel import local
from tau0.train.recipe_file import differing_fields

STATE_FOLDER = "state"
_WEIGHTS, _AVERAGE, _OPTIMISER, _POSITION = "weights.safetensors", "average.safetensors", "optimiser.safetensors", "position.json"


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run has come. Random numbers are functions of seed and step, so that nothing else is needed.

    Attributes:
        step: Steps taken.
        seconds: Training time spent, interruptions not counted.
        recipe: Fingerprint of model, data and training config: another recipe cannot go on from here.
    """

    step: int
    seconds: float
    recipe: str


class Average:
    """Exponential moving average of the parameters that are trained, quicker at first; sharded where they are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: p.detach().clone() for name, p in _trained(model)}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves toward the model's parameters."""
        decay = min(self.decay, (1 + step) / (10 + step))
        here, there = [local(t) for t in self.tensors.values()], [local(p.detach()) for _, p in _trained(model)]
        torch._foreach_lerp_(here, there, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def save_state(folder: Path, model: nn.Module, average: Average, optimiser: torch.optim.Optimizer, position: Position) -> None:
    """Writes the state, replacing the last one only when the new one is whole."""
    tensors = {
        _WEIGHTS: model.state_dict(),
        _AVERAGE: average.tensors,
        _OPTIMISER: {f"{i}.{k}": v for i, s in optimiser.state_dict()["state"].items() for k, v in s.items() if isinstance(v, Tensor)},
    }
    cloned = {name: {k: v.detach().contiguous() for k, v in group.items()} for name, group in tensors.items()}
    save_files(folder / STATE_FOLDER, cloned, {_POSITION: json.dumps(asdict(position), indent=1)})


def load_state(folder: Path, model: nn.Module, average: Average, optimiser: torch.optim.Optimizer, recipe: str) -> Position | None:
    """Restores what `save_state` wrote; None when there is nothing. All processes call it, and the first says which step it is.

    Raises:
        CheckpointError: On all, when the state belongs to another recipe or the first cannot read its position.
    """
    position = first_says(lambda: _saved_position(folder))
    if position is None:
        return None
    check_recipe(position, recipe, folder)
    state = folder / STATE_FOLDER
    load_exactly(model, load_file(state / _WEIGHTS), str(state / _WEIGHTS))
    average.tensors.update(load_file(state / _AVERAGE))
    _load_optimiser(optimiser, load_file(state / _OPTIMISER))
    return position


def read_position(path: Path) -> Position:
    """What was written with a state. Raises `CheckpointError` when it cannot be read."""
    try:
        return Position(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def check_recipe(position: Position, recipe: str, folder: Path) -> None:
    """Raises `CheckpointError`, with the fields that differ, when the state in `folder` belongs to another recipe than `recipe`."""
    if position.recipe != recipe:
        why = "; ".join(differing_fields(folder, position.recipe, recipe)) or f"{position.recipe}, this one is {recipe}"
        raise CheckpointError(
            f"{folder} holds a run of another recipe ({why}): continue with the same preset, data and settings, or choose another "
            "output folder"
        )


def saved_step(folder: Path) -> int:
    """The step that a run in `folder` would go on from; 0 where there is none. For the first process alone."""
    position = _saved_position(folder)
    return 0 if position is None else position.step


def _saved_position(folder: Path) -> Position | None:
    recover_files(folder / STATE_FOLDER)
    path = folder / STATE_FOLDER / _POSITION
    return read_position(path) if path.is_file() else None


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
