"""Everything, end to end, at the smallest size: collect, train, evaluate, demo, report, each as a user would."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tau0.checkpoint import config_from_json
from tau0.cli import run
from tau0.cli.errors import INTERRUPTED
from tau0.evaluate.trace import has_video, read_traces, trace_folders

TASK = "button-press-topdown-v3"
COLLECT = ("collect", "--tasks", TASK, "--demonstrations", "1", "--failures", "1", "--branch-groups", "1", "--workers", "1")
TRAIN = ("train", "tiny", "--max-steps", "4", "--autoencoder-minutes", "0.02", "--workers", "1", "--candidates", "2")
TRAIN = (*TRAIN, "--evaluate-minutes", "0.001", "--evaluate-episodes", "1")


def succeed(*arguments: str | Path) -> str:
    """What the command printed."""
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    assert run([str(argument) for argument in arguments], console, console) == 0, stream.getvalue()
    return stream.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("collected") / "data"
    said = succeed(*COLLECT, "--out", root)
    assert "rows/s" in said
    assert "8 episodes" in said
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    said = succeed(*TRAIN, "--data", data, "--out", out)
    for stage in ("autoencoder", "latents", "world model", "gate"):
        assert stage in said
    assert "step 4: video" in said
    return out


def test_training_leaves_a_checkpoint_with_a_gate_and_a_record(trained: Path) -> None:
    config = config_from_json((trained / "checkpoint" / "config.json").read_bytes())
    assert config.gate is not None
    assert config.provenance["data"].startswith("data: 8 episodes")
    lines = [json.loads(line) for line in (trained / "closed_loop.jsonl").read_text().splitlines()]
    assert lines[-1]["single"].keys() == {TASK}


def test_torchrun_trains_adapters_on_two_processes_from_a_checkpoint(trained: Path, data: Path, tmp_path: Path) -> None:
    out, start = tmp_path / "run", trained / "checkpoint"
    options = ("--max-steps", "2", "--workers", "1", "--candidates", "2", "--autoencoder", start)
    spread = ("--spread.start", start, "--spread.lora-rank", "2", "--spread.micro-batches", "2")
    command = ("torch.distributed.run", "--nproc-per-node", "2", "-m", "tau0", "train", "tiny", "--data", data, "--out", out)
    done = subprocess.run([sys.executable, "-m", *map(str, (*command, *options, *spread))], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("trained. Try it") == 1
    before, after = (load_file(folder / "checkpoint" / "model.safetensors") for folder in (trained, out))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".blocks." in name and name.endswith(".weight") for name in changed)


def test_evaluation_is_paired_and_goes_on(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    command = (
        "evaluate",
        trained,
        "--tasks",
        TASK,
        "--episodes",
        "1",
        "--max-steps",
        "20",
        "--candidates",
        "2",
        "--workers",
        "1",
        "--out",
        out,
    )
    said = succeed(*command, "--modes", "single", "full")
    assert "pairs won : lost, p" in said
    assert len(out.read_text().splitlines()) == 2
    succeed(*command, "--modes", "single", "rcs", "full", "--instructions", "training")
    modes = [json.loads(line)["mode"] for line in out.read_text().splitlines()]
    assert modes == ["single", "full", "rcs"]
    traces = read_traces(tmp_path / "results-traces")
    assert [trace.mode for trace in traces] == ["full", "rcs", "single"]
    assert all(trace.decisions for trace in traces)


def test_oracles_say_where_success_is_lost_and_rollouts_choose_a_gate(trained: Path, tmp_path: Path) -> None:
    out, traces = tmp_path / "results.jsonl", tmp_path / "results-traces"
    command = ("evaluate", trained, "--tasks", TASK, "--episodes", "1", "--max-steps", "10", "--candidates", "2", "--workers", "1")
    said = succeed(*command, "--out", out, "--modes", "rcs", "--loss-split")
    assert "where success is lost, 1 episode of 1 task" in said
    assert "what is believed of candidates and what they really lead to" in said
    found = {trace.mode: trace for trace in read_traces(traces)}
    assert set(found) == {"rcs", "single", "unrevised", "full", "oracle", "oracle-gated"}
    for mode, trace in found.items():
        assert all((decision.proposals.outcomes is not None) == mode.startswith("oracle") for decision in trace.decisions)
    assert "would be" in succeed("calibrate", trained, traces, "--simulate-share", "0.5", "--dry-run")


def test_an_evaluation_with_some_video_can_be_looked_at(trained: Path, tmp_path: Path) -> None:
    out, traces = tmp_path / "results.jsonl", tmp_path / "seen"
    command = ("evaluate", trained, "--tasks", TASK, "--episodes", "2", "--modes", "full", "--max-steps", "10", "--candidates", "2")
    seen = ("--out", out, "--traces", traces, "--video", "--video-seeds", "1", "--gate-threshold", "inf")
    said = succeed(*command, "--workers", "1", *seen)
    assert f"their decisions in {traces}" in said
    assert [has_video(folder) for folder in trace_folders(traces)] == [True, False]
    assert succeed("report", traces).strip() == str(traces / "report.html")
    page = (traces / "report.html").read_text()
    assert "1 of the run's 2 episodes is shown here" in unescape(page)
    assert "fingerprint" in page
    alone = tmp_path / "alone.jsonl"
    alone.write_text(out.read_text())
    assert succeed("report", alone).strip() == str(tmp_path / "alone.html")
    assert succeed("report", traces, "--out", tmp_path / "a" / "b.html", "--max-mb", "0.2").strip() == str(tmp_path / "a" / "b.html")
    assert (tmp_path / "a" / "b.html").stat().st_size < 300_000


def test_demo_ends_with_a_report_that_can_be_made_again(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = ("demo", "--checkpoint", trained / "checkpoint", "--tasks", TASK, "--max-steps", "20", "--candidates", "2", "--out", out)
    report = out / "report.html"
    for _ in range(2):
        assert succeed(*command).splitlines()[-1] == str(report)
    (trace,) = read_traces(out)
    assert trace.frame_steps[:3].tolist() == [0, 4, 8]
    assert (trace.mode, trace.task) == ("full", TASK)
    page = report.read_text()
    for note in ("fingerprint", "torch", "core"):
        assert note in page
    report.unlink()
    assert succeed("report", out).splitlines()[-1] == str(report)
    again = report.read_text()
    assert [note in again for note in ("fingerprint", "torch", "core")] == [True] * 3
    assert abs(len(again) - len(page)) < 0.01 * len(page)


def test_ctrl_c_keeps_what_was_finished(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from tau0.cli import main; main()", *COLLECT, "--out", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "data" / ".staging").glob(f"{TASK}*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, said
    assert said.strip() == "Stopped. What was finished is kept; the same command goes on."
    assert (tmp_path / "data" / ".staging" / "collect.json").is_file()
