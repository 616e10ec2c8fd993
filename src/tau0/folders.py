"""A folder, or one file, is written whole or not at all.

What a kill or a full disk interrupts leaves the folder as it was; `recover_files` mends the one moment between two renames.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def save_files(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], texts: Mapping[str, str]) -> None:
    """Writes safetensors and text files as one folder, atomically."""
    with whole_folder(folder) as draft:
        for name, group in tensors.items():
            _save_tensors(group, draft / name)
        for name, text in texts.items():
            (draft / name).write_text(text)


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes one safetensors file; what the system refused is an `OSError` with its number, not words of the library's."""
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        refused = re.search(r"\(os error (\d+)\)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1]))) from None


def replace_text(path: Path, text: str) -> None:
    """Writes one text file in place of the old one, in one step."""
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    try:
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A draft to write into. It takes the place of `folder` when the block ends well, synced to disk first; else it is gone.

    Raises:
        OSError: What the system refused, with a name: that of `folder` where the system gave none.
    """
    folder = folder.absolute()
    draft, old = folder.with_name(f".{folder.name}.draft-{os.getpid()}"), folder.with_name(f".{folder.name}.old-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        for path in draft.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        _swap(draft, folder, old)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(folder)) from None
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _swap(draft: Path, folder: Path, old: Path) -> None:
    """Puts `draft` in the place of `folder`, which becomes `old`; when that fails, `folder` is what it was."""
    if folder.exists():
        folder.rename(old)
    try:
        draft.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def recover_files(folder: Path) -> None:
    """Mends what a kill left: brings back the folder set aside between two renames, removes drafts. For the folder's owner alone."""
    for draft in folder.parent.glob(f".{folder.name}.draft-*"):
        shutil.rmtree(draft, ignore_errors=True)
    for old in folder.parent.glob(f".{folder.name}.old-*"):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)
