"""One run a folder at a time. What a killed parent leaves behind may still be writing; the next run waits for it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tau0.checkpoint import CheckpointError

LOCK = ".lock"
WAIT_S, POLL_S = 60.0, 0.2
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FolderInUseError(CheckpointError):
    """Another process is training in the folder; the message says which."""


@contextmanager
def alone_in(folder: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Keeps other runs out of the folder until the block, or the process, ends. Where the file system has no locks, nothing is kept.

    Args:
        folder: Of the run.
        wait_s: How long to wait for another run: its processes end with their present step once their parent is gone.

    Raises:
        FolderInUseError: When the other one stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        if _locked(file.fileno(), wait_s):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        else:
            file.seek(0)
            raise FolderInUseError(f"{folder} is in use by process {file.read() or 'unknown'}: wait for it, or name another folder")
        yield


def _locked(handle: int, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                return True
            if error.errno != errno.EWOULDBLOCK:
                raise
            if time.monotonic() > until:
                return False
            time.sleep(POLL_S)
        else:
            return True
