"""Weights of a checkpoint into a model that is spread over processes, one tensor in memory at a time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tau0.checkpoint import CONFIG_NAME, MODEL_NAME, SIMULATOR_NAME, CheckpointConfig, CheckpointError, config_from_json
from tau0.train.lora import base_name, fresh_adapter, is_adapter
from tau0.train.parallel import local

FILES = {"model.": MODEL_NAME, "own_simulator.": SIMULATOR_NAME}


def check_start(start: Path, wanted: CheckpointConfig) -> None:
    """Refuses a checkpoint of another shape.

    Raises:
        CheckpointError: When the folder is no checkpoint, or its networks are not those that shall be trained.
    """
    path = start / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(f"{start} is not a checkpoint: it has no {CONFIG_NAME}")
    found = config_from_json(path.read_bytes(), str(path))
    theirs, ours = asdict(found), asdict(wanted)
    if differing := [line for part in ("model", "simulator") for line in _differing(part, theirs[part], ours[part])]:
        raise CheckpointError(f"{path} is not of the shape that is to be trained: {'; '.join(differing)}")


def _differing(name: str, theirs: Any, ours: Any) -> list[str]:
    """The fields in which two configs differ, a phrase each; one for a part that only one of them has."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [line for key in ours for line in _differing(f"{name}.{key}", theirs[key], ours[key])]
    if theirs == ours:
        return []
    said, expected = ("none" if value is None else "there" if isinstance(value, dict) else repr(value) for value in (theirs, ours))
    return [f"{name} is {said}, expected {expected}"]


@torch.no_grad()
def fill(networks: nn.Module, start: Path, device: torch.device, seed: int) -> None:
    """Gives memory to a sharded model that has none, and copies into it the tensors of the checkpoint in `start`. Adapters begin anew.

    Raises:
        CheckpointError: When a tensor is missing or has another shape.
    """
    networks.to_empty(device=device)
    generator = torch.Generator().manual_seed(seed)
    for prefix, file in FILES.items():
        own = {name: p for name, p in networks.named_parameters() if name.startswith(prefix)}
        if not own:
            continue
        with safe_open(str(start / file), framework="pt") as tensors:
            names = set(tensors.keys())
            for name, parameter in own.items():
                if is_adapter(name):
                    value = fresh_adapter(name, parameter, generator)
                else:
                    plain = base_name(name.removeprefix(prefix))
                    if plain not in names:
                        raise CheckpointError(f"{start / file} has no {plain}")
                    value = tensors.get_tensor(plain)
                _copy(parameter, value, f"{start / file}: {name}")


def _copy(parameter: nn.Parameter, value: Tensor, where: str) -> None:
    """This process's part of `value`."""
    if parameter.shape != value.shape:
        raise CheckpointError(f"{where} is {tuple(value.shape)}, expected {tuple(parameter.shape)}")
    value = value.to(parameter.device, torch.float32)
    if isinstance(parameter, DTensor):
        value = local(distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None))
    local(parameter).copy_(value)
