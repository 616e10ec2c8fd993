"""A checkpoint of ours back into published form: the same tensors under their published names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tau0.checkpoint import CONFIG_NAME, MODEL_NAME, SIMULATOR_NAME, CheckpointConfig, CheckpointError, config_from_json
from tau0.convert.plan import part_of, plan_copy
from tau0.convert.safetensors_file import Planned, SafetensorsFile, write_safetensors
from tau0.folders import whole_folder
from tau0.model.names import to_diffusers, to_published
from tau0.model.published import to_diffusers_shape, to_published_shape

Form = Literal["policy", "simulator", "wan", "diffusers"]
WEIGHTS_STEM = "diffusion_pytorch_model"
_PARTS: Mapping[str, tuple[str, ...]] = {
    "policy": ("trunk", "action_expert"),
    "simulator": ("trunk", "conditioning", "progress_expert"),
    "wan": ("trunk",),
    "diffusers": ("trunk",),
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """A published form that can be written.

    Attributes:
        shape: What becomes `config.json`.
        tensors: Under published names, in the order of layers.
        left: Our names that this form has no place for.
    """

    shape: Mapping[str, Any]
    tensors: tuple[Planned, ...]
    left: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Size of the weights."""
        return sum(planned.num_bytes for planned in self.tensors)

    def write(self, folder: Path, shard_bytes: int, on_written: Callable[[int], None] = lambda _: None) -> None:
        """Writes the folder whole or not at all: one file, or shards of at most `shard_bytes` (one tensor at least) and their index."""
        shards = _shards(self.tensors, shard_bytes)
        names = [f"{WEIGHTS_STEM}.safetensors"]
        if len(shards) > 1:
            names = [f"{WEIGHTS_STEM}-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
        with whole_folder(folder) as draft:
            for name, shard in zip(names, shards, strict=True):
                write_safetensors(draft / name, shard, on_written)
            if len(shards) > 1:
                weight_map = {p.name: name for name, shard in zip(names, shards, strict=True) for p in shard}
                index = {"metadata": {"total_size": self.num_bytes}, "weight_map": weight_map}
                (draft / f"{WEIGHTS_STEM}.safetensors.index.json").write_text(json.dumps(index, indent=1))
            (draft / CONFIG_NAME).write_text(json.dumps(self.shape, indent=1))


def plan_export(folder: Path, form: Form, *, is_fused: bool = False, dtype: torch.dtype | None = None) -> Export:
    """The published form of the checkpoint in `folder`.

    Args:
        folder: A checkpoint of ours.
        form: τ0's policy or simulator, or the trunk alone, under the names of the original Wan 2.2 or of diffusers.
        is_fused: Whether q, k, v of self-attention stay one tensor. diffusers' are always separate.
        dtype: Of every tensor; as it is where None.

    Raises:
        CheckpointError: When the folder is no checkpoint, or lacks a part.
        WeightsError: When a file of weights is damaged.
    """
    if not (folder / CONFIG_NAME).is_file():
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CONFIG_NAME}")
    config = config_from_json((folder / CONFIG_NAME).read_bytes(), str(folder / CONFIG_NAME))
    has_own = form == "simulator" and config.simulator is not None
    path = folder / (SIMULATOR_NAME if has_own else MODEL_NAME)
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a whole checkpoint: it has no {path.name}")
    source = SafetensorsFile(path)
    names = [name for name in source.shapes if part_of(name) in _PARTS[form]]
    if lacking := [part for part in _PARTS[form] if part not in {part_of(name) for name in names}]:
        raise CheckpointError(f"{path} has no {' and no '.join(lacking)}, a published {form} has")
    pieces = to_diffusers(names) if form == "diffusers" else to_published(names, is_fused=is_fused)
    plan = plan_copy(source, dict(sorted(pieces.items())), dtype)
    return Export(shape=_shape(config, form), tensors=plan.tensors, left=tuple(sorted(source.shapes.keys() - set(names))))


def _shape(config: CheckpointConfig, form: Form) -> dict[str, Any]:
    model = config.model
    if form == "diffusers":
        return to_diffusers_shape(model.trunk)
    if form == "simulator":
        return to_published_shape((config.simulator or model).simulator)
    policy = model.policy
    return to_published_shape(policy if form == "policy" else type(policy)(trunk=policy.trunk))


def _shards(tensors: Sequence[Planned], shard_bytes: int) -> list[list[Planned]]:
    shards: list[list[Planned]] = [[]]
    filled = 0
    for planned in tensors:
        if shards[-1] and filled + planned.num_bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(planned)
        filled += planned.num_bytes
    return shards
