"""Runs are compared episode by episode, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tau0.cli import run
from tau0.evaluate.compare import side_by_side
from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.records import EpisodeRecord, RecordsError, append_record
from tau0.evaluate.table import summarize


def record(seed: int, *, success: bool, mode: str = "single", fingerprint: str = "a", task: str = "reach-v3") -> EpisodeRecord:
    result = EpisodeResult(
        task=task, seed=seed, mode=mode, success=success, steps=10, instruction="reach", decisions=2, decision_ms=5.0,
        gates_passed=0, simulated=0, revised=0, revisions_kept=0, seconds=1.0,
    )  # fmt: skip
    return EpisodeRecord(result=result, fingerprint=fingerprint, requested_instruction=None, max_steps=300)


def made(solved: set[int], **settings: str) -> list[EpisodeRecord]:
    return [record(seed, success=seed in solved, **settings) for seed in range(6)]


def test_pairs_are_counted_against_the_first_run() -> None:
    few, many = summarize(side_by_side({"few": made({0, 1, 2}), "many": made({1, 2, 3, 4}, fingerprint="b")})["single"])
    assert (few.mode, few.pooled.successes, few.against_first) == ("few", 3, None)
    assert many.against_first is not None
    assert (many.against_first.pairs, many.against_first.gained, many.against_first.lost) == (6, 2, 1)


def test_modes_are_compared_each_with_its_own() -> None:
    both = made({1}) + made({2}, mode="rcs")
    by_mode = side_by_side({"x": both, "y": both})
    assert list(by_mode) == ["single", "rcs"]
    assert [summary.mode for summary in summarize(by_mode["rcs"])] == ["x", "y"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made({1})[:4], r"2 of x's 6 episodes are not in y, such as reach-v3, seed 4, mode single"),
        ([*made({1}), record(9, success=True)], r"1 of y's 7 episodes are not in x, such as reach-v3, seed 9"),
        (made({1}, task="push-v3"), r"6 of x's 6 episodes are not in y"),
        (made({1}, mode="rcs"), r"mode single against rcs"),
        ([replace(r, max_steps=100) for r in made({1})], r"number of steps allowed 300 against 100"),
        ([*made({1})[:3], *made({1}, fingerprint="b")[3:]], r"y mixes episodes of mode single with different fingerprint: a and b"),
        ([], r"y holds no episodes"),
    ],
)
def test_runs_that_do_not_match_are_refused(other: list[EpisodeRecord], message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        side_by_side({"x": made({0}), "y": other})


def test_one_run_is_no_comparison() -> None:
    with pytest.raises(RecordsError, match="two runs, got 1"):
        side_by_side({"x": made({0})})


def test_the_command_prints_the_table_and_refuses_the_wrong(tmp_path: Path) -> None:
    for name, solved in (("few", {0}), ("many", {0, 1, 2})):
        (tmp_path / name).mkdir()
        for line in made(solved):
            append_record(tmp_path / name / "evaluation.jsonl", line)
    console, stderr = Console(record=True, width=160), Console(record=True, width=160)
    paths = [str(tmp_path / name / "evaluation.jsonl") for name in ("few", "many")]
    assert run(["compare", *paths], console, stderr) == 0
    shown = console.export_text()
    assert "many/evaluation" in shown
    assert "2 : 0" in shown
    assert run(["compare", *paths, "--names", "a"], console, stderr) != 0
    assert "1 names for 2 files" in stderr.export_text()
