"""Distributed checkpoints as safetensors and JSON: torch plans who writes and reads what, this writes and reads it.

One file a process, `part-00000.safetensors`, and `index.json`. Nothing is pickled, and nothing that lies in the folder is unpickled.
Tensors go to the disk one after the other, so that no process needs memory for a second copy of its part.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from tau0.checkpoint import CheckpointError
from tau0.convert.safetensors_file import Planned, SafetensorsFile, write_safetensors
from tau0.train.disk import sync, write_synced
from tau0.train.shard_index import INDEX, Chunk, ShardIndex, index_to_json


def part_name(part: int) -> str:
    """The file of the process with this rank."""
    return f"part-{part:05d}.safetensors"


class ShardWriter(StorageWriter):
    """Writes a state into a folder that exists, synced. What the system refuses is raised as its `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Nothing is kept from one call to the next."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Every process works alike."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """As planned."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Every process gets a file."""
        return [replace(plan, storage_data=part) for part, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes this process's file."""
        path = self._folder / part_name(plan.storage_data)
        planned = [_planned(item, planner) for item in plan.items]
        write_safetensors(path, planned)
        sync(path)
        return _done(
            [
                WriteResult(index=item.index, size_in_bytes=p.num_bytes, storage_data=plan.storage_data)
                for item, p in zip(plan.items, planned, strict=True)
            ]
        )

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Writes the index, in one process."""
        index = ShardIndex.of(metadata, (result for written in results for result in written))
        write_synced(self._folder / INDEX, index_to_json(index))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether this is a folder."""
        return Path(checkpoint_id).is_dir()


class ShardReader(StorageReader):
    """Reads what any number of `ShardWriter`s wrote into a folder."""

    def __init__(self, folder: Path, index: ShardIndex) -> None:
        self._folder, self._metadata = folder, index.metadata()

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Nothing is kept from one call to the next."""

    def read_metadata(self, *_args: Any, **_kwargs: Any) -> Metadata:
        """What the index says."""
        return self._metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Every process works alike."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As planned."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As planned."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Fills this process's tensors, file by file.

        Raises:
            CheckpointError: When a file lacks what the index says.
            OSError: When a file cannot be read.
            WeightsError: When a file is damaged.
        """
        items: dict[int, list[ReadItem]] = {}
        for item in plan.items:
            items.setdefault(self._chunk(item).part, []).append(item)
        for part, of_part in sorted(items.items()):
            file = SafetensorsFile(self._folder / part_name(part))
            for item in of_part:
                self._fill(file, item, planner)
        return _done(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether this is a folder."""
        return Path(checkpoint_id).is_dir()

    def _chunk(self, item: ReadItem) -> Chunk:
        return self._metadata.storage_data[item.storage_index]

    def _fill(self, file: SafetensorsFile, item: ReadItem, planner: LoadPlanner) -> None:
        """One box of one tensor."""
        key, shape = _key(item.storage_index), self._chunk(item).shape
        if file.shapes.get(key) != shape:
            raise CheckpointError(f"{file.path} should hold {key} of shape {shape}, it has {file.shapes.get(key, 'nothing of that name')}")
        box = tuple(slice(begin, begin + length) for begin, length in zip(item.storage_offsets, item.lengths, strict=True))
        target = planner.resolve_tensor(item).detach()
        target.copy_(file.read(key)[box])
        planner.commit_tensor(item, target)


def _planned(item: WriteItem, planner: SavePlanner) -> Planned:
    assert item.tensor_data is not None, f"{item.index.fqn} is not a tensor"
    data = item.tensor_data
    return Planned(
        name=_key(item.index),
        shape=tuple(data.chunk.sizes),
        dtype=data.properties.dtype,
        make=lambda: planner.resolve_data(item).detach().cpu(),  # pyright: ignore[reportAttributeAccessIssue]
    )


def _key(index: MetadataIndex) -> str:
    """The name of a chunk in its file: that of the tensor, and where the chunk begins in it."""
    return f"{index.fqn}@{','.join(map(str, index.offset or ()))}"


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
