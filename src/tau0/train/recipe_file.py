"""The recipe of a run beside it, so that a run that must not go on can say which field is another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tau0.folders import replace_text

RECIPES_FOLDER = "recipes"
MAX_NAMED, MAX_SHOWN = 5, 60
_ABSENT = object()


def recipe_fingerprint(described: Mapping[str, Any]) -> str:
    """16 hex digits that change with any number of the parts, of which each is JSON."""
    return hashlib.sha256(json.dumps(list(described.values()), sort_keys=True).encode()).hexdigest()[:16]


def keep_recipe(folder: Path, described: Mapping[str, Any]) -> str:
    """Writes a recipe into the run's folder, by its fingerprint, which it gives back. What others wrote there stays."""
    name = recipe_fingerprint(described)
    (folder / RECIPES_FOLDER).mkdir(parents=True, exist_ok=True)
    replace_text(folder / RECIPES_FOLDER / f"{name}.json", json.dumps(described, indent=1, sort_keys=True) + "\n")
    return name


def differing_fields(folder: Path, saved: str, wanted: str) -> list[str]:
    """What differs between two recipes that were kept in a run's folder, a phrase each; nothing where one of them was not kept."""
    try:
        old, new = (json.loads((folder / RECIPES_FOLDER / f"{name}.json").read_text("utf-8")) for name in (saved, wanted))
    except (OSError, ValueError):
        return []
    found = [f"{name.removeprefix('recipe.')} was {_short(was)}, is {_short(now)}" for name, was, now in _differences(old, new, "")]
    return found if len(found) <= MAX_NAMED else [*found[:MAX_NAMED], f"and {len(found) - MAX_NAMED} more"]


def _differences(old: Any, new: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Names of leaves that are not equal, with both values."""
    if (isinstance(old, dict) and new is _ABSENT) or (isinstance(new, dict) and old is _ABSENT):
        old, new = ({} if side is _ABSENT else side for side in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(str(key), old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in sorted(old.keys() | new.keys())]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(i), *both) for i, both in enumerate(zip(old, new, strict=True))]
    else:
        if old != new:
            yield name, old, new
        return
    for key, was, now in pairs:
        yield from _differences(was, now, f"{name}.{key}" if name else key)


def _short(value: Any) -> str:
    text = "absent" if value is _ABSENT else json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}.."
