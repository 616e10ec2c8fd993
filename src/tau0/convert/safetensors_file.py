"""Safetensors read and written one tensor at a time: never mapped into memory, never held whole.

The format: eight bytes with the length of a JSON header, the header with dtype, shape and offsets of every tensor, then the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tau0.model.weights import Shape, WeightsError

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_HEADER_ALIGNMENT = 8


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A tensor that will be written: known in full before a byte of it is read.

    Attributes:
        name: In the file.
        shape: Of the tensor.
        dtype: One of `DTYPES`.
        make: Called once, when its turn comes.
    """

    name: str
    shape: Shape
    dtype: torch.dtype
    make: Callable[[], Tensor]

    @property
    def num_bytes(self) -> int:
        """Its size in the file."""
        return prod(self.shape) * self.dtype.itemsize


class SafetensorsFile:
    """The tensors of one safetensors file; `read` takes each from the disk when it is asked for.

    Attributes:
        path: The file.
        shapes: Of every tensor.
        dtypes: Of every tensor.
    """

    def __init__(self, path: Path) -> None:
        """Reads the header. Raises `WeightsError` when it is damaged, the file is cut short, or a tensor is not of floats."""
        self.path = path
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise WeightsError(f"{path} cannot be read: {error}") from None
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        if strange := [f"{name} ({entry['dtype']})" for name, entry in header.items() if entry["dtype"] not in DTYPES]:
            raise WeightsError(f"{path} holds tensors that are not of floats: {', '.join(sorted(strange))}")
        self.shapes: Mapping[str, Shape] = {name: tuple(entry["shape"]) for name, entry in header.items()}
        self.dtypes: Mapping[str, torch.dtype] = {name: DTYPES[entry["dtype"]] for name, entry in header.items()}
        self._begins = {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items()}

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""
        shape, dtype = self.shapes[name], self.dtypes[name]
        buffer = bytearray(prod(shape) * dtype.itemsize)
        if not buffer:
            return torch.empty(shape, dtype=dtype)
        with self.path.open("rb") as file:
            file.seek(self._begins[name])
            if file.readinto(buffer) != len(buffer):
                raise WeightsError(f"{self.path} ends in the middle of {name}: it changed while it was read")
        return torch.frombuffer(buffer, dtype=dtype).reshape(shape)


def write_safetensors(path: Path, planned: Iterable[Planned], on_written: Callable[[int], None] = lambda _: None) -> None:
    """Writes the tensors one after the other, asking for each when its turn comes: the widest numbers first, so that all lie aligned.

    Args:
        path: The file.
        planned: Its tensors.
        on_written: Is told the size of every tensor once it is written.
    """
    ordered = sorted(planned, key=lambda p: (-p.dtype.itemsize, p.name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for p in ordered:
        header[p.name] = {"dtype": _NAMES[p.dtype], "shape": list(p.shape), "data_offsets": [offset, offset + p.num_bytes]}
        offset += p.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for p in ordered:
            file.write(_bytes(p))
            on_written(p.num_bytes)


def _bytes(planned: Planned) -> memoryview:
    """The tensor's numbers in the order of its last dimension first, as they lie in the file."""
    tensor = planned.make()
    assert (tuple(tensor.shape), tensor.dtype) == (planned.shape, planned.dtype), f"{planned.name} is {tensor.dtype} {tuple(tensor.shape)}"
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
