"""The files of a sharded state: safetensors and JSON, whatever is put in their place."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from tau0.checkpoint import CheckpointError
from tau0.train.shard_files import part_name
from tau0.train.shard_index import INDEX
from tau0.train.shards import POSITION, latest_shards, load_shards, save_shards, start_moments
from tau0.train.state import Average, Position

FILES = (INDEX, POSITION, part_name(0))
POSITION_7 = Position(step=7, seconds=1.5, recipe="a")


class Bomb:
    """Harmful to unpickle: it makes a folder."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return os.mkdir, (self.sign,)


class State:
    """A small model in the middle of its training."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).to(torch.bfloat16))
        self.average, self.optimiser = Average(self.model, 0.9), torch.optim.AdamW(self.model.parameters())
        start_moments(self.optimiser)
        for tensor in self.tensors():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))

    def tensors(self) -> list[torch.Tensor]:
        moments = [tensor for state in self.optimiser.state.values() for tensor in state.values()]
        return [*(p.detach() for p in self.model.parameters()), *self.average.tensors.values(), *moments]

    def save(self, folder: Path) -> Path:
        return save_shards(folder, self.model, self.average, self.optimiser, POSITION_7)

    def load(self, folder: Path) -> Position | None:
        return load_shards(folder, self.model, self.average, self.optimiser, "a")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run with one checkpoint, saved by a group of one process, which the tests belong to. Do not write into it."""
    folder = tmp_path_factory.mktemp("saved")
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=0, world_size=1)
    State(1).save(folder)
    yield folder
    dist.destroy_process_group()


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return shutil.copytree(saved / "shards", tmp_path / "run" / "shards").parent


def newest(run: Path) -> Path:
    found = latest_shards(run)
    assert found is not None
    return found


def test_state_comes_back_bit_for_bit(saved: Path):
    state = State(2)
    assert state.load(saved) == POSITION_7
    assert all(torch.equal(one, other) for one, other in zip(state.tensors(), State(1).tensors(), strict=True))


def test_saved_files_are_json_and_safetensors_and_no_pickles(saved: Path):
    paths = sorted(newest(saved).iterdir())
    assert [path.name for path in paths] == sorted(FILES)
    for path in paths:
        assert load_file(path) if path.suffix == ".safetensors" else json.loads(path.read_text())
        with pytest.raises(ValueError):
            list(pickletools.genops(path.read_bytes()))


@pytest.mark.parametrize("name", FILES)
def test_pickle_in_the_place_of_a_file_is_refused_and_never_run(run: Path, tmp_path: Path, name: str):
    (newest(run) / name).write_bytes(pickle.dumps(Bomb(tmp_path / "bang")))
    with pytest.raises(CheckpointError, match="cannot be read"):
        State(2).load(run)
    assert not (tmp_path / "bang").exists()


def test_index_as_torch_writes_it_is_not_looked_at(run: Path, tmp_path: Path):
    bomb = newest(run) / ".metadata"
    bomb.write_bytes(pickle.dumps(Bomb(tmp_path / "bang")))
    assert State(2).load(run) == POSITION_7
    (newest(run) / INDEX).unlink()
    with pytest.raises(CheckpointError, match=f"has no {INDEX}"):
        State(2).load(run)
    assert not (tmp_path / "bang").exists()
    pickle.loads(bomb.read_bytes())
    assert (tmp_path / "bang").exists()


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_cut_short_or_missing_is_named(run: Path, name: str):
    path = newest(run) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
        State(2).load(run)
    path.unlink()
    with pytest.raises(CheckpointError, match=name):
        State(2).load(run)


def test_part_that_lacks_what_the_index_says_is_refused(run: Path):
    path = newest(run) / INDEX
    path.write_text(path.read_text().replace("exp_avg.0.bias", "exp_avg.9.bias").replace("weights.0.bias", "exp_avg.0.bias"))
    index = json.loads(path.read_text())
    index["tensors"]["weights.0.bias"] = index["tensors"]["average.0.bias"] | {"chunks": [{"offsets": [0], "shape": [5], "part": 0}]}
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"should hold weights.0.bias@0 of shape \(5,\), it has \(4,\)"):
        State(2).load(run)
