"""Copies of a model that are each spread over a few processes; processes that agree on where they go on."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import copies_work
import pytest
import torch
from copies_work import STOPPED_AT
from processes import Processes
from safetensors.torch import load_file
from sharded_work import CONFIG

from tau0.train.shards import latest_shards


def results_differ(first: Path, second: Path) -> list[str]:
    one, other = (load_file(folder / "result.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of four processes: two copies of the model, on two each. Do not write into it."""
    folder = tmp_path_factory.mktemp("copies")
    Processes(4, copies_work.train_copies, folder, 2, CONFIG, STOPPED_AT).finish()
    return folder


def test_stopped_copies_go_on_and_end_equal_bit_for_bit(stopped: Path, tmp_path: Path):
    whole, goes_on = tmp_path / "whole", tmp_path / "goes_on"
    whole.mkdir()
    shutil.copytree(stopped, goes_on)
    Processes(4, copies_work.train_copies, whole, 2).finish()
    Processes(4, copies_work.train_copies, goes_on, 2).finish()
    assert results_differ(stopped, goes_on) != []
    assert results_differ(whole, goes_on) == []


def test_what_copies_saved_is_read_on_another_mesh(stopped: Path, tmp_path: Path):
    shutil.copytree(stopped / "shards", tmp_path / "shards")
    Processes(2, copies_work.train_copies, tmp_path, None, replace(CONFIG, max_steps=STOPPED_AT)).finish()
    assert results_differ(stopped, tmp_path) == []


def test_processes_of_a_killed_launcher_save_and_end(tmp_path: Path):
    launcher = Processes(1, copies_work.launch_and_wait, tmp_path)
    lines = tmp_path / "steps"
    while not lines.exists() and launcher.are_running:
        time.sleep(0.01)
    launcher.kill()
    until = time.monotonic() + 60
    while not (tmp_path / "result.safetensors").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert latest_shards(tmp_path) is not None


def test_all_processes_go_on_from_what_the_first_one_sees(stopped: Path, tmp_path: Path):
    Processes(2, copies_work.go_on_where_folders_differ, tmp_path, stopped).finish()
    assert [(tmp_path / f"step-{rank}").read_text() for rank in range(2)] == [str(STOPPED_AT)] * 2
