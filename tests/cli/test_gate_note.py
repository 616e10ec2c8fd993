"""Commands say where the gate that they ask was chosen for another number of candidates."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tau0.checkpoint import CONFIG_NAME, config_from_json, save_config
from tau0.cli import run
from tau0.cli.shipped import SHIPPED, find_checkpoint

NOTE = "the gate was calibrated with 3 candidates; with 2 the best score is lower and fewer decisions pass: calibrate again, or give"
SHORT = ("--tasks", "reach-v3", "--max-steps", "2", "--candidates", "2")


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    """The shipped checkpoint, as if its gate were chosen for three candidates."""
    folder = Path(shutil.copytree(find_checkpoint(SHIPPED), tmp_path / "calibrated"))
    config = config_from_json((folder / CONFIG_NAME).read_bytes())
    assert config.gate is not None
    save_config(replace(config, gate=replace(config.gate, num_candidates=3)), folder)
    return folder


def said(*arguments: str | Path) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    assert run([str(argument) for argument in arguments], console, console) == 0, stream.getvalue()
    return stream.getvalue()


def test_evaluate_says_it_once_for_all_modes(calibrated: Path, tmp_path: Path) -> None:
    command = ("evaluate", calibrated, *SHORT, "--episodes", "1", "--workers", "1", "--out", tmp_path / "results.jsonl")
    assert said(*command, "--modes", "single", "unrevised", "full").count(f"{NOTE} --gate-threshold\n") == 1
    assert NOTE not in said(*command, "--modes", "single")
    assert NOTE not in said("evaluate", SHIPPED, *command[2:-1], tmp_path / "unknown.jsonl", "--modes", "full")


def test_demo_says_it(calibrated: Path, tmp_path: Path) -> None:
    assert f"{NOTE} --gate-threshold\n" in said("demo", "--checkpoint", calibrated, *SHORT, "--out", tmp_path / "demo")
