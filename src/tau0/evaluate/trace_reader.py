"""Reading the two files of a trace: typed fields and arrays, and errors that say where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

JSON_NAME = "trace.json"
ARRAYS_NAME = "arrays.safetensors"
PICTURES = "frames"
"""Name of the arrays that hold pixels; all others are small."""


class TraceError(ValueError):
    """A trace on disk cannot be read. The message names the file, the field, and what was expected."""


def read_fields(path: Path) -> Any:
    """What the JSON file of a trace holds. Raises `TraceError` when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TraceError(f"{path.parent} holds no {path.name}; is it a trace folder?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} is not JSON: {error}") from None


def read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """Every array of a trace. Raises `TraceError` when the file is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise TraceError(f"{path.parent} holds no {path.name}; the trace is incomplete") from None
    except SafetensorError as error:
        raise TraceError(f"{path} is not a safetensors file: {error}") from None


def read_small_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """Every array but pictures, of which only the shape of the real video is read: it comes without frames. Raises as `read_arrays`."""
    with _opened(path) as file:
        names = list(file.keys())
        arrays = {name: file.get_tensor(name) for name in names if name.split(".")[-1] != PICTURES}
        shape = file.get_slice(PICTURES).get_shape() if PICTURES in names else ()
    empty = {PICTURES: np.zeros((0, *shape[1:]), np.uint8), "frame_steps": np.zeros(0, np.int64)}
    return {**arrays, **(empty if shape else {})}


def num_frames(path: Path) -> int:
    """Frames of real video, from the head of the arrays' file alone. Raises as `read_arrays`."""
    with _opened(path) as file:
        return file.get_slice(PICTURES).get_shape()[0] if PICTURES in file.keys() else 0  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except FileNotFoundError:
        raise TraceError(f"{path.parent} holds no {path.name}; the trace is incomplete") from None
    except SafetensorError as error:
        raise TraceError(f"{path} is not a safetensors file: {error}") from None


class TraceReader:
    """Typed access to the JSON fields and arrays of a trace, with errors that say where."""

    def __init__(self, path: Path, fields: Any, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> None:
        if not isinstance(fields, dict):
            raise TraceError(f"{path}: {f'field {prefix!r}' if prefix else 'the file'} is a {type(fields).__name__}, expected an object")
        self.path, self._fields, self._arrays, self._prefix = path, fields, arrays, prefix

    def child(self, name: str, fields: Any) -> TraceReader:
        return TraceReader(self.path, fields, self._arrays, self.name(name))

    def name(self, key: str) -> str:
        return f"{self._prefix}.{key}" if self._prefix else key

    def get(self, key: str, kind: type[Any]) -> Any:
        if key not in self._fields:
            raise TraceError(f"{self.path}: field {self.name(key)!r} is missing")
        value = self._fields[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TraceError(f"{self.path}: field {self.name(key)!r} is {value!r}, expected {kind.__name__}")
        return value

    def optional(self, key: str, kind: type[Any]) -> Any:
        return None if key in self._fields and self._fields[key] is None else self.get(key, kind)

    def known(self, key: str, kind: type[Any], otherwise: Any) -> Any:
        """A field that older traces do not have."""
        return self.get(key, kind) if key in self._fields else otherwise

    def number(self, key: str) -> float:
        try:
            return float(self._fields[key])
        except KeyError:
            raise TraceError(f"{self.path}: field {self.name(key)!r} is missing") from None
        except (TypeError, ValueError):
            raise TraceError(f"{self.path}: field {self.name(key)!r} is {self._fields[key]!r}, expected a number") from None

    def array(self, key: str, dtype: type[np.generic], ndim: int) -> NDArray[Any]:
        path = self.path.parent / ARRAYS_NAME
        if self.name(key) not in self._arrays:
            raise TraceError(f"{path}: field {self.name(key)!r} is missing")
        array = self._arrays[self.name(key)]
        if array.dtype != dtype or array.ndim != ndim:
            wanted = f"{dtype.__name__} with {ndim} dimensions"
            raise TraceError(f"{path}: field {self.name(key)!r} is {array.dtype} of shape {array.shape}, expected {wanted}")
        return array
