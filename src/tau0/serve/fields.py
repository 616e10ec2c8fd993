"""Fields of a message, each checked as it is read: what came, what was expected, what was probably meant. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from tau0.contract import ContractError, Embodiment, Float, Pixels

_LONGEST = 64


def named(what: str, name: Any, choices: Iterable[str]) -> str:
    """Returns `name`. Raises `ValueError` when it is none of the choices."""
    known = list(choices)
    if isinstance(name, str) and name in known:
        return name
    raise ValueError(f"{what} is {_unknown(name, known)}")


def _unknown(name: Any, known: list[str]) -> str:
    """A name that is none of those there are, and what was probably meant."""
    shown = str(name)[:_LONGEST]
    near = get_close_matches(shown, known, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"{shown!r}{hint} (there are {', '.join(known)})"


def only(what: str, fields: Any, needed: Collection[str], optional: Collection[str] = ()) -> None:
    """Raises `ValueError` naming a key that is missing, or one that nobody knows."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{what} must be a map, got {type(fields).__name__}")
    known = (*needed, *optional)
    for key in fields:
        if key not in known:
            raise ValueError(f"{what} has the unknown key {_unknown(key, list(known))}")
    if missing := [key for key in needed if key not in fields]:
        raise ValueError(f"{what} lacks {missing[0]!r}; it has {sorted(map(str, fields))}")


def text(what: str, value: Any, longest: int) -> str:
    """Returns text of at most `longest` characters. Raises `ValueError` for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{what} must be text, got {type(value).__name__}")
    if len(value) > longest:
        raise ValueError(f"{what} has {len(value)} characters, at most {longest} are allowed")
    return value


def boolean(what: str, value: Any) -> bool:
    """Returns yes or no. Raises `ValueError` for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{what} must be true or false, got {type(value).__name__}")
    return bool(value)


def number(what: str, value: Any) -> float:
    """Returns a number. Raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{what} must be a number, got {type(value).__name__}")
    return float(value)


def whole(what: str, value: Any, low: int, high: int) -> int:
    """Returns a whole number within [low, high]. Raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{what} must be a whole number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}, it must lie between {low} and {high}")
    return int(value)


def numbers(what: str, value: Any) -> Float:
    """Returns an array of floating point as float32, in memory of its own. Raises `ContractError` for anything else."""
    if not isinstance(value, np.ndarray):
        raise ContractError(f"{what} must be an array, got {type(value).__name__}")
    if value.dtype.kind != "f":
        raise ContractError(f"{what} is {value.dtype}, it must be float32 (or float64)")
    with np.errstate(over="ignore"):
        return np.array(value, np.float32)


def images(value: Any, embodiment: Embodiment) -> dict[str, Pixels]:
    """Returns the pictures by camera, in memory of their own; sizes are the contract's business.

    Raises:
        ContractError: One is not the robot's, or no array.
        ValueError: This is no map.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"images must be a map from camera to array, got {type(value).__name__}")
    known = [camera.name for camera in embodiment.cameras]
    pictures = {}
    for name, pixels in value.items():
        if name not in known:
            raise ContractError(f"{embodiment.name!r} has no camera {_unknown(name, known)}")
        if not isinstance(pixels, np.ndarray):
            raise ContractError(f"camera {name!r} gives {type(pixels).__name__}, expected an array of uint8")
        pictures[name] = pixels.copy()
    return pictures
