"""The resumable state of a run on many processes: every process writes its part, any number of processes reads it.

One folder a checkpoint, `shards/step-00000123`: written under another name, synced, and renamed when it is whole. The last good one is not
touched until then. The files are safetensors and JSON (`shard_files.py`); nothing in a folder is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from tau0.checkpoint import CheckpointError
from tau0.train.agreement import first_says
from tau0.train.disk import sync, write_synced
from tau0.train.parallel import agree, first_does, is_first
from tau0.train.shard_files import ShardReader, ShardWriter
from tau0.train.shard_index import ShardIndex, read_index
from tau0.train.state import Average, Position, check_recipe, read_position

SHARDS_FOLDER, POSITION = "shards", "position.json"
_STEP, _DRAFT = "step-", ".draft-"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def latest_shards(folder: Path) -> Path | None:
    """The newest whole checkpoint of the run in `folder`."""
    return max(folder.joinpath(SHARDS_FOLDER).glob(f"{_STEP}*"), default=None)


def start_moments(optimiser: torch.optim.Optimizer) -> None:
    """Gives AdamW its moments before the first step, so that a saved state has somewhere to go."""
    for group in optimiser.param_groups:
        for p in group["params"]:
            moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            optimiser.state[p] = {"step": torch.zeros((), device=p.device), **moments}


def save_shards(folder: Path, networks: nn.Module, average: Average, optimiser: torch.optim.Optimizer, position: Position) -> Path:
    """Writes the state of all processes, together, and then removes older ones. Returns its folder.

    Raises:
        OSError: On every process, when any could not write; the last whole checkpoint stays, nothing else is left behind.
    """
    name = f"{position.step:08d}"
    final, draft = folder / SHARDS_FOLDER / f"{_STEP}{name}", folder / SHARDS_FOLDER / f"{_DRAFT}{name}"
    try:
        first_does(lambda: _start_draft(draft))
        _write_parts(_tensors(networks, average, optimiser), draft)
        first_does(lambda: _finish(draft, final, position))
    except Exception:
        if is_first():
            shutil.rmtree(draft, ignore_errors=True)
        raise
    return final


def load_shards(folder: Path, networks: nn.Module, average: Average, optimiser: torch.optim.Optimizer, recipe: str) -> Position | None:
    """Restores the newest state, whatever the number of processes that wrote it; None when there is nothing.

    All processes read the one that the first finds: another may not see yet, or see no longer, what the file system shows to that one.

    Raises:
        CheckpointError: When the state belongs to another recipe, or cannot be read.
    """
    newest = first_says(lambda: _newest(folder, recipe))
    if newest is None:
        return None
    source, position = newest
    index = _agreed_index(source)
    try:
        load(_tensors(networks, average, optimiser), storage_reader=ShardReader(source, index))
    except CheckpointException as error:
        cause = next(iter(error.failures.values()))[0]
        raise CheckpointError(f"{source} cannot be read: {cause}") from None
    return position


def _newest(folder: Path, recipe: str) -> tuple[Path, Position] | None:
    """The newest whole checkpoint of this recipe, and what it says about itself."""
    source = latest_shards(folder)
    if source is None:
        return None
    position = read_position(source / POSITION)
    check_recipe(position, recipe, folder)
    return source, position


def _tensors(networks: nn.Module, average: Average, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that changes in training, by name: the very tensors, which loading fills."""
    trained = {name: p for name, p in networks.named_parameters() if p.requires_grad}
    tensors: dict[str, Tensor] = {f"weights.{name}": p.detach() for name, p in trained.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.tensors.items()}
    for moment in MOMENTS:
        tensors |= {f"{moment}.{name}": optimiser.state[p][moment] for name, p in trained.items()}
    return tensors


def _agreed_index(source: Path) -> ShardIndex:
    """The index; what any process met in reading it is raised on all."""
    index, error = None, None
    try:
        index = read_index(source)
    except CheckpointError as caught:
        error = caught
    agree(error)
    assert index is not None
    return index


def _start_draft(draft: Path) -> None:
    draft.parent.mkdir(parents=True, exist_ok=True)
    for old in draft.parent.glob(f"{_DRAFT}*"):
        shutil.rmtree(old)
    draft.mkdir()


def _write_parts(tensors: dict[str, Tensor], draft: Path) -> None:
    """Every process its own file, synced."""
    try:
        save(tensors, storage_writer=ShardWriter(draft))
    except CheckpointException as error:
        raise _refusal(error, draft) from None


def _refusal(error: CheckpointException, draft: Path) -> Exception:
    """What the operating system refused, as an `OSError` with its number; another cause as it came."""
    causes = [cause for cause, _ in error.failures.values()]
    for cause in causes:
        if isinstance(cause, OSError):
            return OSError(cause.errno, os.strerror(cause.errno or 0), str(draft))
    return RuntimeError(f"{draft} could not be written: {causes[0]}")


def _finish(draft: Path, final: Path, position: Position) -> None:
    """The draft gets its name, and older ones go."""
    write_synced(draft / POSITION, json.dumps(asdict(position), indent=1))
    sync(draft)
    draft.rename(final)
    sync(final.parent)
    for old in final.parent.glob(f"{_STEP}*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)
