"""`tau0 realtime` from its arguments to its table."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tau0.cli import run
from tau0.evaluate.records import read_records


def told(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, width=250)
    return run(arguments, console, console), out.getvalue()


def test_late_answers_are_measured_in_running_physics(tmp_path: Path) -> None:
    out = tmp_path / "late.jsonl"
    settings = ("--tasks", "reach-v3", "--episodes", "1", "--max-steps", "14", "--workers", "1", "--rate-hz", "20", "--out", str(out))
    asked = ("realtime", "shipped", *settings, "--delay-ms", "200", "--executors", "naive", "rtc", "--guidance", "0.5")
    status, text = told(*asked)
    assert status == 0
    assert "single rtc@0.5 200 ms" in text
    records = read_records(out)
    assert [record.result.mode for record in records] == ["single naive 200 ms", "single rtc@0.5 200 ms"]
    assert all(record.result.jerk is not None and record.result.held >= 4 for record in records)
    assert told(*asked, "--markdown")[1].count("| single") == 2
    assert read_records(out) == records


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--executors", "rtcc"), "did you mean 'rtc'"),
        (("--executors", "rtc", "rtc"), "none twice"),
        (("--delay-ms", "-1"), "--delay-ms holds -1"),
        (("--delay-ms", "inf"), "--delay-ms holds inf"),
        (("--rate-hz", "0"), "--rate-hz is 0"),
        (("--guidance", "-2"), "--guidance is -2"),
        (("--query-every", "99"), "query_every"),
        (("--mode", "best"), "unknown mode 'best'"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    status, text = told("realtime", "shipped", "--out", str(tmp_path / "x.jsonl"), *arguments)
    assert status == 2
    assert words in " ".join(text.split())
    assert "Traceback" not in text
