"""Where published weights lie: one file, shards with an index, or a folder with either. Opened lazily, unpickled never."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol
from zipfile import is_zipfile

import torch
from torch import Tensor

from tau0.convert.safetensors_file import DTYPES, SafetensorsFile
from tau0.model.weights import Shape, WeightsError

PICKLED = (".bin", ".pth", ".pt")
INDEX = ".index.json"


class TensorSource(Protocol):
    """Tensors by name, each read when it is asked for."""

    path: Path
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, torch.dtype]

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""
        ...


def open_source(path: Path, key: str | None = None) -> TensorSource:
    """The weights at `path`: a .safetensors, .bin, .pth or .pt file, an index of shards (.index.json), or a folder that holds one of these.

    Args:
        path: Where.
        key: For pickled files that hold more than weights: under which entry the weights are.

    Raises:
        WeightsError: When there are none, several, or what is there is no mapping of names to tensors of floats.
    """
    if path.is_dir():
        path = _weights_in(path)
    if not path.is_file():
        raise WeightsError(f"{path} is neither a file nor a folder")
    if path.name.endswith(INDEX):
        return ShardedFiles(path, key)
    return _open_file(path, key)


def _open_file(path: Path, key: str | None) -> TensorSource:
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    if path.suffix in PICKLED:
        return PickledFile(path, key)
    raise WeightsError(f"{path}: weights are {', '.join(('.safetensors', *PICKLED))} or {INDEX}")


def _weights_in(folder: Path) -> Path:
    """The one file of weights in the folder; safetensors where there are several forms, an index before its shards."""
    forms = [f".safetensors{INDEX}", ".safetensors", *(f"{suffix}{INDEX}" for suffix in PICKLED), *PICKLED]
    for form in forms:
        found = sorted(path for path in folder.iterdir() if path.name.endswith(form))
        if len(found) > 1:
            raise WeightsError(f"{folder} holds several: {', '.join(path.name for path in found)}; name the file")
        if found:
            return found[0]
    below = sorted(path.parent.relative_to(folder) for form in (".safetensors", *PICKLED) for path in folder.glob(f"*/*{form}"))
    advice = f"; did you mean {folder / below[0]}?" if below else ""
    raise WeightsError(f"{folder} holds no weights ({', '.join(forms)}){advice}")


class PickledFile:
    """A file that `torch.save` wrote. Only tensors are let in, and the file stays on the disk, mapped."""

    def __init__(self, path: Path, key: str | None) -> None:
        """Raises `WeightsError` when the file holds anything but tensors, in an old form, or several mappings and no `key`."""
        self.path = path
        if not is_zipfile(path):
            raise WeightsError(f"{path} is not opened: it is damaged, or of a form from before torch 1.6: save it again")
        try:
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except UnpicklingError:
            raise WeightsError(f"{path} is not opened: it holds more than tensors, and could run code") from None
        except RuntimeError as error:
            raise WeightsError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
        self._tensors = _weights(loaded, path, key)
        self.shapes: Mapping[str, Shape] = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        self.dtypes: Mapping[str, torch.dtype] = {name: tensor.dtype for name, tensor in self._tensors.items()}
        if strange := [f"{name} ({dtype})" for name, dtype in self.dtypes.items() if dtype not in DTYPES.values()]:
            raise WeightsError(f"{path} holds tensors that are not of floats: {', '.join(sorted(strange))}")

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""
        return self._tensors[name]


def _weights(loaded: object, path: Path, key: str | None) -> Mapping[str, Tensor]:
    """The mapping of names to tensors: the file itself, its entry `key`, or its only entry."""
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, expected tensors by name")
    if key is not None:
        if key not in loaded:
            raise WeightsError(f"{path} has no entry {key!r} (there are {', '.join(map(str, loaded))})")
        loaded = loaded[key]
    elif len(loaded) == 1 and isinstance(next(iter(loaded.values())), dict):
        loaded = next(iter(loaded.values()))
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        entries = ", ".join(map(str, loaded)) if isinstance(loaded, dict) else type(loaded).__name__
        raise WeightsError(f"{path} holds more than weights ({entries[:200]}): say with --key which entry they are")
    return loaded


class ShardedFiles:
    """Several files, and an index that says which tensor lies in which."""

    def __init__(self, path: Path, key: str | None) -> None:
        """Raises `WeightsError` when a shard is not there, or index and shards differ by a name."""
        self.path = path
        try:
            self._file_of: dict[str, str] = dict(json.loads(path.read_text("utf-8"))["weight_map"])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
            raise WeightsError(f"{path} is not an index of shards: it has no weight_map from names to files") from None
        names = sorted(set(self._file_of.values()))
        if outside := [name for name in names if Path(name).name != name]:
            raise WeightsError(f"{path} names files outside its folder: {', '.join(outside)}")
        if absent := [name for name in names if not (path.parent / name).is_file()]:
            raise WeightsError(f"{path}: of {len(names)} shards, these are not there: {', '.join(absent)}")
        self._shards = {name: _open_file(path.parent / name, key) for name in names}
        held = {(tensor, name) for name, shard in self._shards.items() for tensor in shard.shapes}
        listed = set(self._file_of.items())
        lines = [f"{t} is listed in {f}, which does not hold it" for t, f in sorted(listed - held)]
        lines += [f"{t} is in {f}, where the index does not list it" for t, f in sorted(held - listed)]
        if lines:
            raise WeightsError(f"{path} does not fit its shards:\n  " + "\n  ".join(lines))
        self.shapes: Mapping[str, Shape] = {t: self._shards[f].shapes[t] for t, f in self._file_of.items()}
        self.dtypes: Mapping[str, torch.dtype] = {t: self._shards[f].dtypes[t] for t, f in self._file_of.items()}

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""
        return self._shards[self._file_of[name]].read(name)
