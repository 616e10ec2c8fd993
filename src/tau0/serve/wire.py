"""Messages as bytes: msgpack with NumPy arrays in the form of openpi's client. Encode stands beside decode, and nothing is unpickled.

An array is a map of four entries, `__ndarray__`, `data`, `dtype` and `shape`, a number of NumPy one of three (`__npgeneric__`), their keys
as bytes (openpi, `openpi_client/msgpack_numpy.py`). What is read here can only become numbers, text, bytes, lists and maps: of types
there is a list of twelve, and sizes have to agree with the bytes that came.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

DTYPES = {np.dtype(name).str: np.dtype(name) for name in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}
"""All element types that are read: booleans, integers and floating point, in this machine's byte order. No objects, records or text."""

MAX_DIMENSIONS, MAX_ENTRIES, MAX_ITEMS = 8, 256, 65_536
"""Most dimensions of an array, entries of a map, and items of a list."""

_LONGEST = 100

_ARRAY, _NUMBER = {b"__ndarray__", b"data", b"dtype", b"shape"}, {b"__npgeneric__", b"data", b"dtype"}


class WireError(ValueError):
    """Bytes that are no message. The text says what is wrong with them."""


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as bytes. Arrays and NumPy numbers may stand anywhere in it.

    Raises:
        WireError: It holds something that has no form on the wire.
    """
    try:
        return bytes(msgpack.packb(message, default=_pack) or b"")
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"this cannot be sent: {error}") from error


def decode(data: bytes) -> dict[str, Any]:
    """The message that `encode`, or openpi's packer, made. Its arrays cannot be written to: they share memory with `data`.

    Raises:
        WireError: For all other bytes whatever.
    """
    try:
        message = msgpack.unpackb(
            data, object_hook=_unpack, ext_hook=_no_extension, max_map_len=MAX_ENTRIES, max_array_len=MAX_ITEMS, strict_map_key=True
        )
    except WireError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"these {len(data)} bytes are not one msgpack message: {_mistake(error)}") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise WireError(f"a message is a map with names as keys, got {_kind(message)}")
    return message


def _pack(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"{type(value).__name__} has no form on the wire")
    if value.dtype.str not in DTYPES:
        raise TypeError(f"arrays of {value.dtype} are not sent")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": np.ascontiguousarray(value).tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}


def _unpack(entries: dict[Any, Any]) -> Any:
    if all(isinstance(key, str) for key in entries):
        return entries
    if entries.keys() == _ARRAY:
        return _array(entries[b"data"], _dtype(entries[b"dtype"]), entries[b"shape"])
    if entries.keys() == _NUMBER:
        return _number(entries[b"data"], _dtype(entries[b"dtype"]))
    raise WireError("a map has keys that are not text, and is no array")


def _dtype(name: Any) -> np.dtype[Any]:
    dtype = DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise WireError(f"an array's dtype is {str(name)[:32]!r}, it must be one of {', '.join(DTYPES)}")
    return dtype


def _array(data: Any, dtype: np.dtype[Any], shape: Any) -> np.ndarray[Any, Any]:
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise WireError(f"an array needs its bytes, and a shape of at most {MAX_DIMENSIONS} numbers")
    if not all(type(size) is int and 0 <= size < 2**32 for size in shape):
        raise WireError("an array's shape must be whole numbers of at least 0")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise WireError(f"an array of {dtype} {tuple(shape)} has {math.prod(shape) * dtype.itemsize} bytes, got {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape)


def _number(data: Any, dtype: np.dtype[Any]) -> np.generic:
    if not isinstance(data, bool | int | float):
        raise WireError(f"a number of {dtype} must be a number, got {_kind(data)}")
    try:
        return dtype.type(data)
    except (OverflowError, ValueError) as error:
        raise WireError(f"a number does not fit {dtype}") from error


def _no_extension(code: int, data: bytes) -> Any:  # noqa: ARG001
    raise WireError(f"msgpack extension {code} is not understood")


def _mistake(error: Exception) -> str:
    """What msgpack says is wrong, in words of ours where it says nothing, or something else."""
    if isinstance(error, msgpack.exceptions.ExtraData):
        return "more follows after its end"
    if isinstance(error, msgpack.exceptions.StackError | RecursionError):
        return "it is nested too deeply"
    if "incomplete input" in str(error):
        return "it breaks off"
    return str(error)[:_LONGEST] or "it begins with a byte that nothing begins with"


def _kind(value: Any) -> str:
    return {dict: "a map", list: "a list", str: "text", bytes: "bytes", type(None): "nothing"}.get(type(value), type(value).__name__)
