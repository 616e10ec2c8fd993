"""Where success is lost: the parts add up, and what cannot be split is refused."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.loss_split import NEEDED, loss_table, split_loss
from tau0.evaluate.records import EpisodeRecord, RecordsError
from tau0.evaluate.statistics import wilson_interval

SOLVED = {
    "single": "0110010000",
    "unrevised": "1110010000",
    "full": "1111010100",
    "oracle": "1111111110",
    "oracle-gated": "1111110000",
}


def record(mode: str, task: str, seed: int, success: bool) -> EpisodeRecord:
    result = EpisodeResult(
        task=task, instruction="", seed=seed, mode=mode, success=success, steps=9, decisions=2, gates_passed=0, simulated=0, revised=0,
        revisions_kept=0, seconds=1.0, decision_ms=1.0,
    )  # fmt: skip
    return EpisodeRecord(result=result, fingerprint=mode, requested_instruction=None, max_steps=9)


def records() -> list[EpisodeRecord]:
    return [record(mode, "ab"[i % 2], i, flag == "1") for mode, outcomes in SOLVED.items() for i, flag in enumerate(outcomes)]


def test_the_parts_add_up_to_what_the_full_loop_solves() -> None:
    split = split_loss(records())
    shares = {part.name: part.share.estimate for part in split.parts}
    rates = {mode: outcomes.count("1") / 10 for mode, outcomes in SOLVED.items()}
    assert (split.episodes, split.tasks) == (10, 2)
    assert shares["solved by the first sample"] == pytest.approx(rates["single"])
    assert shares["covered by the proposals"] == pytest.approx(0.9)
    assert shares["lost: no candidate leads there"] == pytest.approx(-0.1)
    assert shares["lost: the score trusts or imagines worse candidates"] == pytest.approx(-0.3)
    assert shares["lost: the simulator errs"] == pytest.approx(-0.2)
    assert shares["gained by revision"] == pytest.approx(0.2)
    parts = [share for name, share in shares.items() if name.startswith(("lost", "gained"))]
    assert 1 + sum(parts) == pytest.approx(shares["solved by the full loop"]) == pytest.approx(rates["full"])
    for part in split.parts:
        assert part.share.low <= part.share.estimate <= part.share.high
    assert split == split_loss(records())


def test_only_episodes_that_all_modes_have_run_count() -> None:
    more = [*records(), *(record("single", "c", 99, True) for _ in range(3))]
    assert split_loss(more) == split_loss(records())


def test_missing_modes_and_foreign_episodes_are_refused() -> None:
    without = [one for one in records() if one.result.mode not in ("oracle", "unrevised")]
    with pytest.raises(RecordsError, match="there are none of unrevised, oracle"):
        split_loss(without)
    elsewhere = [*without, *(record(mode, "z", 5, True) for mode in ("oracle", "unrevised"))]
    with pytest.raises(RecordsError, match="no episode was run in all"):
        split_loss(elsewhere)
    assert set(NEEDED) == set(SOLVED)


def test_rates_have_the_intervals_of_rates_and_nothing_lost_has_none() -> None:
    always = [replace(one, result=replace(one.result, success=one.result.mode != "single")) for one in records()]
    parts = {part.name: part for part in split_loss(always).parts}
    assert parts["covered by the proposals"].share == wilson_interval(10, 10)
    assert parts["solved by the first sample"].share == wilson_interval(0, 10)
    assert parts["lost: no candidate leads there"].share.low == -wilson_interval(0, 10).high
    out = io.StringIO()
    Console(file=out, width=120).print(loss_table(split_loss(always)))
    text = out.getvalue()
    assert "100% [72%, 100%]" in text
    assert text.count("+0.0 points, no episode differs") == 3
    assert "[+0.0, +0.0]" not in text
    assert "-0.0" not in text


def test_two_checkpoints_are_not_one_split() -> None:
    mixed = [replace(one, checkpoint=one.result.mode[:1]) for one in records()]
    with pytest.raises(RecordsError, match="of checkpoints s and u"):
        split_loss(mixed)


def test_the_table_says_everything() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(loss_table(split_loss(records())))
    text = out.getvalue()
    assert "10 episodes of 2 tasks" in text
    assert "covered by the proposals" in text
    assert "90%" in text
    assert "-30.0 points" in text
