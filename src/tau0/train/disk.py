"""A writer of distributed checkpoints that says why it could not write.

Inside torch's own, an error of the operating system in the middle of a tensor ("no space left") becomes one about positions in a file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter


class _NotingFile(io.BufferedWriter):
    """A file that remembers what the system refused."""

    refused: OSError | None = None

    def write(self, buffer: Any, /) -> int:
        """As any file."""
        try:
            return super().write(buffer)
        except OSError as error:
            self.refused = error
            raise


class _NotingFileSystem(FileSystem):
    """Files that remember; the last refusal is raised whatever torch made of it."""

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Generator[io.IOBase, None, None]:
        """A file to write into, or to read from."""
        if mode != "wb":
            with super().create_stream(path, mode) as stream:
                yield stream
            return
        file = _NotingFile(io.FileIO(os.fspath(path), "wb"))
        try:
            yield file
            file.close()
        except Exception:
            file.raw.close()
            if file.refused is not None:
                raise file.refused from None
            raise


class NotingWriter(FileSystemWriter):
    """Writes a checkpoint into a folder, one file a process, synced. What the system refuses is raised as its `OSError`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fs = _NotingFileSystem()
