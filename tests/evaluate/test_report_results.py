"""Tables of the report: what they count, what they compare, what they say of it."""

from __future__ import annotations

import dataclasses

import pytest
from fake_traces import fake_trace

from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.loss_split import NEEDED, split_loss
from tau0.evaluate.records import EpisodeRecord, RecordsError
from tau0.evaluate.report_process import funnel_figure, timings_figure
from tau0.evaluate.report_results import headline_mode, loss_figure, ordered_modes, records_of, results_figure


def _record(task: str, seed: int, mode: str, success: bool) -> EpisodeRecord:
    counts = {"decisions": 4, "gates_passed": 1, "simulated": 2, "revised": 1, "revisions_kept": 1}
    result = EpisodeResult(
        task=task, instruction="do it", seed=seed, mode=mode, success=success, steps=9, seconds=1.0, decision_ms=20.0, **counts
    )
    return EpisodeRecord(result=result, fingerprint="f", requested_instruction=None, max_steps=300)


def _records(rates: dict[str, int], tasks: tuple[str, ...] = ("reach-v3", "push-v3"), seeds: int = 10) -> list[EpisodeRecord]:
    return [_record(task, seed, mode, seed < solved) for mode, solved in rates.items() for task in tasks for seed in range(seeds)]


def test_modes_are_compared_with_the_simplest_whatever_their_order() -> None:
    figure = results_figure(_records({"full": 9, "oracle": 10, "single": 5}))
    assert [row["mode"] for row in figure["modes"]] == ["single", "full", "oracle"]
    single, full, oracle = figure["modes"]
    assert single["gain"] is None
    assert (full["gain"]["won"], full["gain"]["lost"], full["gain"]["words"]) == (8, 0, "+40.0")
    assert full["gain"]["p"] == "p = 0.008"
    assert (full["is_headline"], oracle["is_headline"], oracle["is_oracle"]) == (True, False, True)
    assert figure["headline"]["mode"] == "full"
    assert figure["spread"] >= abs(oracle["gain"]["high"])


def test_episodes_of_two_checkpoints_are_not_compared_as_one() -> None:
    records = [
        dataclasses.replace(one, checkpoint="x" if one.result.mode == "single" else "y") for one in _records({"single": 5, "full": 5})
    ]
    with pytest.raises(RecordsError, match="of checkpoints x and y"):
        results_figure(records)
    mixed = [*_records({"full": 5}), dataclasses.replace(_record("reach-v3", 77, "full", True), fingerprint="g")]
    with pytest.raises(RecordsError, match="mode full are of checkpoints or settings f and g"):
        results_figure(mixed)


def test_wordings_are_not_counted_together() -> None:
    plain = _records({"single": 5, "full": 5})
    with pytest.raises(RecordsError, match="mix the training wording and others"):
        results_figure([*plain, *(dataclasses.replace(one, requested_instruction="go") for one in plain)])
    said = [dataclasses.replace(one, result=dataclasses.replace(one.result, instruction="go")) for one in plain[:1]]
    with pytest.raises(RecordsError, match="reach-v3, seed 0, mode single is there with two wordings, 'do it' and 'go'"):
        results_figure([*plain, *said])
    turns = [dataclasses.replace(one, requested_instruction=f"go {one.result.seed}") for one in plain]
    assert results_figure(turns)["num_episodes"] == 20


def test_the_sentence_says_what_chance_could_do() -> None:
    sure = results_figure(_records({"single": 5, "full": 9}))["verdict"]
    assert "40.0 points more than “single”" in sure
    assert "8 only with “full”, 0 only with “single”" in sure
    assert "would hardly have made" in sure
    unsure = results_figure(_records({"single": 5, "full": 4}))["verdict"]
    assert "10.0 points fewer than “single”" in unsure
    assert "could well have made" in unsure
    assert "as many as “single”" in results_figure(_records({"single": 5, "full": 5}))["verdict"]
    assert results_figure(_records({"full": 5}))["verdict"] == ""


def test_where_no_episode_differs_there_is_no_interval() -> None:
    figure = results_figure(_records({"single": 5, "full": 5}))
    assert "(no episode differs; 0 only with" in figure["verdict"]
    assert (figure["headline"]["gain"]["ends"], figure["headline"]["gain"]["aside"]) == ("no episode differs", "no episode differs")
    parts = loss_figure(_records(dict.fromkeys(NEEDED, 5)))
    assert parts is not None
    assert [part["ends"] for part in parts["parts"][3:6]] == ["no episode differs"] * 3


def test_strips_show_the_same_seed_in_the_same_place() -> None:
    records = [_record("reach-v3", 0, "single", True), _record("reach-v3", 2, "single", False), _record("reach-v3", 1, "full", True)]
    (row,) = results_figure(records)["tasks"]
    single, full = row["cells"]
    assert single["strip"] == {"width": 12, "solved": "M0.4 0h3.2v8h-3.2z", "failed": "M8.4 0h3.2v8h-3.2z"}
    assert full["strip"] == {"width": 12, "solved": "M4.4 0h3.2v8h-3.2z", "failed": ""}


def test_a_task_that_a_mode_did_not_run_is_left_open() -> None:
    records = [*_records({"single": 5}), *_records({"full": 5}, tasks=("reach-v3",))]
    assert [cell is None for cell in results_figure(records)["tasks"][1]["cells"]] == [False, True]
    assert results_figure(_records({"single": 5}, seeds=200))["tasks"][0]["cells"][0]["strip"] is None


def test_a_group_of_tasks_that_is_whole_has_a_row() -> None:
    groups = {"near": ("reach-v3", "push-v3"), "far": ("reach-v3", "basketball-v3")}
    (row,) = results_figure(_records({"single": 5, "full": 7}), groups)["groups"]
    assert row["name"] == "near, 2 tasks"
    assert [(cell["successes"], cell["trials"]) for cell in row["cells"]] == [(10, 20), (14, 20)]


def test_a_gain_on_one_task_alone_is_not_promised_elsewhere() -> None:
    records = [
        *_records({"single": 0, "full": 8}, tasks=("reach-v3",)),
        *_records({"single": 5, "full": 5}, tasks=("push-v3", "pick-place-v3")),
    ]
    figure = results_figure(records)
    assert "on others like them it may not be there" in figure["verdict"]
    assert not figure["headline"]["gain"]["is_sure"]


def test_pieces_of_the_loss_hang_from_one_another() -> None:
    rates = dict.fromkeys(NEEDED, 0) | {"single": 4, "unrevised": 5, "full": 6, "oracle": 9, "oracle-gated": 7}
    records = _records(rates)
    figure = loss_figure(records)
    assert figure is not None
    parts = figure["parts"]
    assert [part["name"] for part in parts] == [part.name for part in split_loss(records).parts]
    places = [(round(part["left"]), round(part["width"]), part["kind"]) for part in parts]
    assert places == [
        (0, 40, "whole"),
        (0, 90, "whole"),
        (90, 10, "loss"),
        (70, 20, "loss"),
        (50, 20, "loss"),
        (50, 10, "gain"),
        (0, 60, "whole"),
    ]
    assert all(part["about"] for part in parts)
    assert parts[3]["words"] == "−20.0 points"


def test_without_its_modes_or_shared_episodes_there_is_no_split() -> None:
    assert loss_figure(_records({"single": 5, "full": 5})) is None
    apart = [record for i, mode in enumerate(NEEDED) for record in _records({mode: 1}, tasks=(f"task-{i}",))]
    assert loss_figure(apart) is None


def test_the_headline_is_what_a_robot_could_do() -> None:
    assert headline_mode(["oracle", "rcs", "single"]) == "rcs"
    assert headline_mode(["oracle", "full", "single"]) == "full"
    assert headline_mode(["oracle"]) == "oracle"
    assert ordered_modes(["new", "full", "single", "full"]) == ["single", "full", "new"]


def test_a_trace_counts_as_its_record_would() -> None:
    trace = fake_trace(3, num_decisions=8)
    (record,) = records_of([trace])
    kept = [decision for decision in trace.decisions if decision.choice == "revised"]
    assert (record.result.decisions, record.result.revisions_kept) == (8, len(kept))
    assert record.result.gates_passed + record.result.simulated == 8
    assert record.result.decision_ms == pytest.approx(sorted(d.milliseconds["total"] for d in trace.decisions)[3], rel=0.5)


def test_futures_that_were_left_out_are_not_counted() -> None:
    trace = fake_trace(3, num_decisions=8, num_candidates=4)
    index, decision = next((i, d) for i, d in enumerate(trace.decisions) if d.proposals.progress is not None)
    assert decision.proposals.progress is not None
    progress = decision.proposals.progress.copy()
    progress[1] = float("nan")
    hurried = dataclasses.replace(decision, proposals=dataclasses.replace(decision.proposals, progress=progress))
    decisions = (*trace.decisions[:index], hurried, *trace.decisions[index + 1 :])
    counted = funnel_figure([dataclasses.replace(trace, decisions=decisions)])
    assert counted["futures"] == funnel_figure([trace])["futures"] - 1
    assert counted["imagined"] + counted["passed"] == counted["decisions"] == 8
    assert [row["stage"] for row in timings_figure([trace])["rows"]][:3] == ["encode", "propose", "score"]
