"""Groups of tasks: every one counts the same in their mean, and nothing is said of a group that lacks a task."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.groups import group_rate, group_table, groups_mean, whole_groups
from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.table import ModeSummary, summarize
from tau0.worlds.registry import GROUPS, SUITES

PAIR = {"easy": ("a", "b", "c"), "hard": ("d",)}


def summary(solved: dict[str, int], trials: int = 10, mode: str = "single") -> ModeSummary:
    records = [record(task, seed, seed < count, mode) for task, count in solved.items() for seed in range(trials)]
    return summarize(records)[0]


def record(task: str, seed: int, success: bool, mode: str) -> EpisodeRecord:
    result = EpisodeResult(
        task=task, instruction=task, seed=seed, mode=mode, success=success, steps=1, decisions=1, gates_passed=0, simulated=0, revised=0,
        revisions_kept=0, seconds=1.0, decision_ms=1.0,
    )  # fmt: skip
    return EpisodeRecord(result=result, fingerprint="f", requested_instruction=None, max_steps=500)


def test_every_group_counts_the_same() -> None:
    found = summary({"a": 10, "b": 5, "c": 0, "d": 1})
    rate = group_rate(found, PAIR["easy"])
    assert rate is not None
    assert (rate.successes, rate.trials) == (15, 30)
    assert groups_mean(found, PAIR) == pytest.approx((0.5 + 0.1) / 2)
    assert found.pooled.interval.estimate == pytest.approx(16 / 40)


def test_a_group_that_lacks_a_task_has_no_rate() -> None:
    found = summary({"a": 10, "c": 0, "d": 1})
    assert group_rate(found, PAIR["easy"]) is None
    assert groups_mean(found, PAIR) is None
    assert whole_groups(list(found.by_task), PAIR) == ("hard",)
    assert group_table([found], PAIR) is None


def test_the_table_of_mt50_names_the_four_groups_and_their_mean() -> None:
    found = summary({task: 10 if task in SUITES["mt50-easy"] else 0 for task in SUITES["mt50"]})
    table = group_table([found], GROUPS, "MT50")
    assert table is not None
    stream = io.StringIO()
    Console(file=stream, width=120).print(table)
    said = stream.getvalue()
    assert "280/280  100.0%" in said
    assert [line.split("│")[2].strip() for line in said.splitlines() if "│" in line][:4] == ["28", "11", "6", "5"]
    assert "mean of the groups" in said
    assert "25.0%" in said
    some = summary(dict.fromkeys((*SUITES["mt50-hard"], *SUITES["mt50-very-hard"]), 0))
    partial = group_table([some], GROUPS)
    assert partial is not None
    assert partial.row_count == 2
