"""The second robot from end to end: two arms, three cameras, collected, trained on and acted with by the same commands."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tau0.checkpoint import config_from_json
from tau0.cli import run
from tau0.cli.errors import FAILED
from tau0.evaluate.trace import read_traces
from tau0.worlds.two_arm import EMBODIMENT
from tau0.worlds.two_arm_scene import is_installed

TASK = "two-arm-lift"
pytestmark = pytest.mark.skipif(not is_installed(), reason="needs robosuite: pip install -e '.[two-arm]' -c constraints.txt")


def succeed(*arguments: str | Path) -> str:
    """What the command printed."""
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    assert run([str(argument) for argument in arguments], console, console) == 0, stream.getvalue()
    return stream.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two-arm") / "data"
    kinds = ("--demonstrations", "2", "--failures", "0", "--branch-groups", "0")
    assert "2 episodes" in succeed("collect", "--tasks", TASK, *kinds, "--workers", "1", "--out", root)
    return root


def test_what_two_arms_did_is_trained_on_and_acted_with(data: Path, tmp_path: Path) -> None:
    assert "Usable: 0 errors" in succeed("doctor", data, "--description", "two_arm", "--videos", "1")
    out = tmp_path / "run"
    sizes = ("--max-steps", "2", "--autoencoder-minutes", "0.02", "--workers", "1", "--candidates", "2")
    assert "gate: threshold" in succeed("train", "tiny", "--data", data, "--out", out, *sizes)
    config = config_from_json((out / "checkpoint" / "config.json").read_bytes())
    assert (config.embodiment, config.codec.reference) == (EMBODIMENT, "relative")
    results = tmp_path / "results.jsonl"
    few = ("--tasks", TASK, "--max-steps", "9", "--candidates", "2", "--gate-threshold", "inf")
    succeed("evaluate", out, *few, "--episodes", "1", "--modes", "full", "--workers", "1", "--out", results)
    (line,) = map(json.loads, results.read_text().splitlines())
    assert (line["task"], line["decisions"], line["simulated"]) == (TASK, 2, 2)
    (trace,) = read_traces(tmp_path / "results-traces")
    assert all(decision.proposals.actions.shape[-1] == 20 for decision in trace.decisions)


def test_a_two_arm_checkpoint_does_not_act_with_one_arm(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=300)
    command = ("evaluate", "shipped", "--suite", "two-arm", "--episodes", "1", "--out", str(tmp_path / "results.jsonl"))
    assert run(command, console, console) == FAILED
    assert "'robosuite-two-panda' does not fit 'metaworld-sawyer': cameras" in stream.getvalue()
