"""Which file holds which part of which tensor: the index of a sharded state, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic
import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorProperties, TensorStorageMetadata
from torch.distributed.checkpoint.storage import WriteResult

from tau0.checkpoint import CheckpointError
from tau0.convert.safetensors_file import DTYPES

INDEX = "index.json"
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A box of a tensor.

    Attributes:
        offsets: Where it begins, a number a dimension.
        shape: Its size.
        part: Number of the file that holds it.
    """

    offsets: tuple[int, ...]
    shape: tuple[int, ...]
    part: int


@dataclass(frozen=True, kw_only=True)
class SavedTensor:
    """A tensor, whole.

    Attributes:
        dtype: As safetensors call it.
        shape: Of all of it.
        chunks: Boxes that make it up.
    """

    dtype: Literal["F64", "F32", "F16", "BF16"]
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """Every tensor of a state, by name.

    Attributes:
        tensors: By name.
        format_version: Of the file.
    """

    tensors: dict[str, SavedTensor]
    format_version: Literal[1] = 1

    @classmethod
    def of(cls, metadata: Metadata, results: Iterable[WriteResult]) -> ShardIndex:
        """The index of what torch planned and the processes have written."""
        parts = {result.index: result.storage_data for result in results}
        tensors = {}
        for name, saved in metadata.state_dict_metadata.items():
            assert isinstance(saved, TensorStorageMetadata), f"{name} is not a tensor"
            chunks = tuple(
                Chunk(offsets=tuple(c.offsets), shape=tuple(c.sizes), part=parts[MetadataIndex(name, c.offsets)]) for c in saved.chunks
            )
            tensors[name] = SavedTensor(dtype=_NAMES[saved.properties.dtype], shape=tuple(saved.size), chunks=chunks)  # pyright: ignore[reportArgumentType]
        return cls(tensors=tensors)

    def metadata(self) -> Metadata:
        """What torch's planner needs: `storage_data` is the chunk of every place."""
        tensors = {name: _described(saved) for name, saved in self.tensors.items()}
        places = {MetadataIndex(name, chunk.offsets): chunk for name, saved in self.tensors.items() for chunk in saved.chunks}
        return Metadata(state_dict_metadata=dict(tensors), storage_data=places)


_INDEX = pydantic.TypeAdapter(ShardIndex)


def index_to_json(index: ShardIndex) -> str:
    """The index as JSON."""
    return _INDEX.dump_json(index).decode()


def read_index(folder: Path) -> ShardIndex:
    """The index in a folder.

    Raises:
        CheckpointError: When there is none, or it is damaged.
    """
    path = folder / INDEX
    try:
        return _INDEX.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no {INDEX}: it is damaged, or of an older form; choose another output folder") from None
    except (OSError, pydantic.ValidationError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _described(saved: SavedTensor) -> TensorStorageMetadata:
    chunks = [ChunkStorageMetadata(offsets=torch.Size(chunk.offsets), sizes=torch.Size(chunk.shape)) for chunk in saved.chunks]
    return TensorStorageMetadata(TensorProperties(dtype=DTYPES[saved.dtype]), torch.Size(saved.shape), chunks)
