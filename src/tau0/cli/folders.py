"""Whether results will have somewhere to go: asked before hours of work, not after."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tau0.cli.arguments import UsageError

SMALLEST_MB = 200


def writable_folder(path: Path, needed_mb: float = SMALLEST_MB) -> Path:
    """Makes the folder if missing, tries it, and returns it.

    Raises:
        UsageError: It cannot be made or written, or its disk has less than `needed_mb` megabytes free.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"tau0")
            file.flush()
        free_mb = shutil.disk_usage(path).free / 1e6
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write to {path}: {reason}. Name a folder that is yours to write, with free space") from error
    if free_mb < needed_mb:
        raise UsageError(f"only {free_mb:.0f} MB are free for {path}, {needed_mb:.0f} MB are needed: free some, or name another folder")
    return path


def check_new_folder(path: Path, may_replace: bool, needed_mb: float, sources: Sequence[Path]) -> None:
    """Lets pass a folder that can be written whole: a new or empty one, or one like it (with a config.json) that may be replaced.

    Raises:
        UsageError: There is something else in its place, it holds one of the `sources`, or its parent cannot be written or has too little
            space.
    """
    if held := [source for source in sources if source.resolve().is_relative_to(path.resolve())]:
        raise UsageError(f"{path} holds {held[0]}, which is read: name another folder")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not (path / "config.json").is_file():
            raise UsageError(f"{path} exists and is not what would be written: name another folder")
        if not may_replace:
            raise UsageError(f"{path} exists: name another folder, or say --replace")
    writable_folder(path.absolute().parent, needed_mb=needed_mb + SMALLEST_MB)


def writable_file(path: Path) -> Path:
    """Returns `path` when a file can be written there; its folder is made if missing. Raises `UsageError` otherwise."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    writable_folder(path.parent, needed_mb=1)
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"cannot write to {path}: permission denied. Name another file")
    return path
