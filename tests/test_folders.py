"""Folders are written whole or not at all."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
import torch

from tau0.folders import recover_files, save_files, whole_folder

TENSORS = {"model.safetensors": {"x": torch.zeros(1)}}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with weights and a text, alone in its parent."""
    save_files(tmp_path / "checkpoint", {"model.safetensors": {"x": torch.ones(1)}}, {"config.json": "{}"})
    return tmp_path / "checkpoint"


def test_failure_while_writing_leaves_the_old_folder(folder: Path):
    before = contents(folder)
    with pytest.raises(UnicodeEncodeError):
        save_files(folder, TENSORS, {"config.json": "\ud800 cannot be written"})
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_full_disk_is_said_with_the_name_of_the_folder(folder: Path):
    before = contents(folder)
    with pytest.raises(OSError, match="No space left") as error, whole_folder(folder), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert error.value.filename == str(folder)
    assert contents(folder) == before


def test_tensors_that_find_no_room_are_refused_alike(folder: Path):
    before, (soft, hard) = contents(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            save_files(folder, {"model.safetensors": {"x": torch.zeros(10_000)}}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(folder))
    assert contents(folder) == before


def test_failure_while_swapping_brings_the_old_folder_back(folder: Path, monkeypatch: pytest.MonkeyPatch):
    before, rename = contents(folder), Path.rename

    def refuse_drafts(self: Path, target: Path) -> Path:
        if ".draft-" in self.name:
            raise OSError("no space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_drafts)
    with pytest.raises(OSError, match="no space left"):
        save_files(folder, TENSORS, {})
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_a_kill_between_two_renames_set_aside_comes_back(folder: Path):
    before = contents(folder)
    folder.rename(folder.with_name(f".{folder.name}.old-1"))
    with whole_folder(folder.with_name(f".{folder.name}.draft-1")) as half:
        (half / "model.safetensors").write_bytes(b"half")
    recover_files(folder)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_is_whole_is_not_replaced_by_what_was_set_aside(folder: Path):
    before = contents(folder)
    save_files(folder.with_name(f".{folder.name}.old-1"), TENSORS, {})
    recover_files(folder)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
