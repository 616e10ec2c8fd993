"""Small settings files in TOML, read strictly: a name that nobody knows is an error, not a wish."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import pydantic

from tau0.evaluate.records import RecordsError

Settings = TypeVar("Settings")
STRICT = pydantic.ConfigDict(extra="forbid")
"""To be the `__pydantic_config__` of every dataclass that is read from a file."""


def read_settings(path: Path, kind: pydantic.TypeAdapter[Settings]) -> Settings:
    """What the file says.

    Raises:
        RecordsError: There is no such file, it is not TOML, or a name or a value is not one that was expected; the message says which.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordsError(f"{path} is not there") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecordsError(f"{path} is not TOML: {error}") from error
    try:
        return kind.validate_python(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordsError(f"{path}: {where}: {first['msg']}, got {first['input']!r}") from error


def known(name: str, choices: list[str], what: str) -> str:
    """Returns `name` when it is one of the choices; raises `RecordsError`, which says what was probably meant, otherwise."""
    if name in choices:
        return name
    near = get_close_matches(name, choices, n=1, cutoff=0.4)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise RecordsError(f"{what} {name!r} is unknown{hint} (there are {', '.join(choices) or 'none'})")
