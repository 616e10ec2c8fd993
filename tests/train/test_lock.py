"""One run a folder; a killed one leaves it free."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tau0.train.lock import LOCK, FolderInUseError, alone_in


def test_second_run_is_told_who_is_there(tmp_path: Path):
    folder = tmp_path / "run"
    with alone_in(folder), pytest.raises(FolderInUseError, match=f"run is in use by process {os.getpid()}:"), alone_in(folder, wait_s=0):
        pytest.fail("two runs in one folder")
    with alone_in(folder, wait_s=0):
        pass


def test_killed_run_leaves_its_folder_free_and_is_waited_for(tmp_path: Path):
    child = os.fork()
    if child == 0:
        with alone_in(tmp_path):
            signal.alarm(60)
            signal.pause()
        os._exit(0)
    while not (tmp_path / LOCK).exists() or (tmp_path / LOCK).read_text() != str(child):
        time.sleep(0.01)
    with pytest.raises(FolderInUseError, match=str(child)), alone_in(tmp_path, wait_s=0):
        pytest.fail("two runs in one folder")
    os.kill(child, signal.SIGKILL)
    with alone_in(tmp_path, wait_s=30):
        pass
    os.waitpid(child, 0)
