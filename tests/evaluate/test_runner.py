import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_closed_loop import SOURCES, ConfusedSource, DyingSource, PointWorld, SteeringSource

from tau0.evaluate.records import EpisodeRecord, RecordsError, append_record, read_records
from tau0.evaluate.runner import episodes_of, evaluate
from tau0.evaluate.table import success_markdown, success_table, summarize
from tau0.evaluate.trace import read_traces
from tau0.evaluate.workers import EvaluationError, Recording

EPISODES = episodes_of(["reach", "push"], range(6))
MAX_STEPS = 12


def timeless(records: list[EpisodeRecord]) -> list[EpisodeRecord]:
    return [replace(record, commit=None, result=replace(record.result, seconds=0.0, decision_ms=0.0)) for record in records]


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeRecord]:
    return evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, tmp_path_factory.mktemp("serial") / "results.jsonl")


def test_every_mode_meets_every_episode_and_the_file_says_the_same(serial: list[EpisodeRecord], tmp_path: Path) -> None:
    out = tmp_path / "made" / "results.jsonl"
    told: list[tuple[int, int]] = []
    records = evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out, on_result=lambda _, done, total: told.append((done, total)))
    assert timeless(records) == timeless(serial)
    assert read_records(out) == records
    assert told == [(i, 24) for i in range(1, 25)]
    assert [(r.result.task, r.result.seed, r.result.mode) for r in records[:3]] == [
        ("reach", 0, "single"),
        ("reach", 0, "full"),
        ("reach", 1, "single"),
    ]
    assert len({record.result.success for record in records}) == 2


def test_every_record_says_which_checkpoint_whatever_the_settings(serial: list[EpisodeRecord]) -> None:
    assert {record.checkpoint for record in serial} == {"a"}
    assert len({record.fingerprint for record in serial}) == len(SOURCES)
    flat = json.loads(serial[0].to_json())
    assert {"seed", "task", "instruction", "commit", "checkpoint", "fingerprint"} <= set(flat)
    del flat["checkpoint"]
    assert EpisodeRecord.from_json(json.dumps(flat)) == replace(serial[0], checkpoint=None)


def test_parallel_equals_serial(serial: list[EpisodeRecord], tmp_path: Path) -> None:
    records = evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, tmp_path / "results.jsonl", workers=2)
    assert timeless(records) == timeless(serial)


@pytest.mark.parametrize(("workers", "frame_every"), [(1, 0), (2, 5)])
def test_every_decision_of_every_episode_is_kept(tmp_path: Path, workers: int, frame_every: int) -> None:
    recording = Recording(folder=tmp_path / "traces", frame_every=frame_every)
    records = evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, tmp_path / "out.jsonl", workers=workers, recording=recording)
    traces = {(trace.task, trace.seed, trace.mode): trace for trace in read_traces(recording.folder)}
    assert len(traces) == len(records) == 24
    for record in records:
        trace = traces[record.result.task, record.result.seed, record.result.mode]
        assert (len(trace.decisions), trace.success, trace.num_steps) == (
            record.result.decisions,
            record.result.success,
            record.result.steps,
        )
        assert (len(trace.frames) > 0) == (frame_every > 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupt_keeps_what_was_finished_and_the_same_command_goes_on(serial: list[EpisodeRecord], tmp_path: Path, workers: int) -> None:
    out = tmp_path / "results.jsonl"

    def interrupt(_: EpisodeRecord, done: int, total: int) -> None:
        assert total == 24
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out, workers=workers, on_result=interrupt)
    kept = read_records(out)
    assert len(kept) == 5
    told: list[int] = []
    records = evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out, on_result=lambda _, done, __: told.append(done))
    assert told == list(range(6, 25))
    assert timeless(records) == timeless(serial)
    assert read_records(out)[:5] == kept
    assert evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out) == records


SLOW_RUN = """
import sys, time
from pathlib import Path
from fake_closed_loop import SOURCES, PointWorld
from tau0.evaluate.runner import episodes_of, evaluate
if __name__ == "__main__":
    evaluate(episodes_of(["reach", "push"], range(6)), SOURCES, PointWorld, 12, Path(sys.argv[1]), workers=int(sys.argv[2]),
             on_result=lambda *_: time.sleep(0.2))
"""


@pytest.mark.parametrize(("how", "workers"), [(signal.SIGKILL, 1), (signal.SIGINT, 2)])
def test_a_killed_run_goes_on(serial: list[EpisodeRecord], tmp_path: Path, how: signal.Signals, workers: int) -> None:
    out, script = tmp_path / "results.jsonl", tmp_path / "run.py"
    script.write_text(SLOW_RUN)
    command = [sys.executable, str(script), str(out), str(workers)]
    process = subprocess.Popen(command, env={"PYTHONPATH": str(Path(__file__).parent)}, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_text().count("\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait(20) != 0
    assert 2 <= len(read_records(out)) < 24
    assert timeless(evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out)) == timeless(serial)


def test_a_line_cut_off_by_a_power_failure_is_run_again(serial: list[EpisodeRecord], tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    lines = [record.to_json() + "\n" for record in serial]
    out.write_text("".join(lines[:4]) + lines[4][:30])
    assert read_records(out) == serial[:4]
    assert timeless(evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out)) == timeless(serial)
    assert len(read_records(out)) == 24


def test_a_file_that_is_no_text_is_named_and_half_a_letter_at_its_end_is_not(serial: list[EpisodeRecord], tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    line = replace(serial[0], requested_instruction="ziehe\u2028die Tür").to_json()
    out.write_bytes(f"{line}\n".encode() + line.encode()[: line.encode().index("ü".encode()) + 1])
    assert [record.requested_instruction for record in read_records(out)] == ["ziehe\u2028die Tür"]
    out.write_bytes(b"\xff\xfe\n")
    with pytest.raises(RecordsError, match=rf"{out} is no text"):
        evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out)


def test_a_file_of_another_evaluation_is_refused(serial: list[EpisodeRecord], tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    append_record(out, serial[0])
    other = SteeringSource(mode="single", noise=5.0)
    with pytest.raises(RecordsError, match=rf"{SOURCES[0].fingerprint}, this run is {other.fingerprint}"):
        evaluate(EPISODES, [other], PointWorld, MAX_STEPS, out)
    with pytest.raises(RecordsError, match="at most 12 steps, this run allows 13"):
        evaluate(EPISODES, SOURCES, PointWorld, 13, out)
    out.write_text('{"hello": 1}\n')
    with pytest.raises(RecordsError, match="line 1, is not an episode"):
        evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, out)
    assert out.read_text() == '{"hello": 1}\n'


def test_a_file_is_of_one_checkpoint_in_all_modes(serial: list[EpisodeRecord], tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    append_record(out, serial[0])
    for mode in ("single", "medoid"):
        other = SteeringSource(mode=mode, noise=6.0, checkpoint="b")
        with pytest.raises(RecordsError, match=rf"{out} holds episodes of checkpoint a, this run is of b: use another --out"):
            evaluate(EPISODES, [other], PointWorld, MAX_STEPS, out)
    assert read_records(out) == serial[:1]
    out.write_text(replace(serial[0], checkpoint=None).to_json() + "\n")
    assert len(evaluate(EPISODES[:1], [SteeringSource(mode="medoid", noise=6.0, checkpoint="b")], PointWorld, MAX_STEPS, out)) == 1


def test_another_instruction_is_another_episode(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    for words in (None, "touch it"):
        (record,) = evaluate(episodes_of(["reach"], [0], words), SOURCES[:1], PointWorld, MAX_STEPS, out)
        assert record.result.instruction == (words or "do reach")
    assert len(read_records(out)) == 2


def test_a_place_that_cannot_be_written_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=r"cannot write results to .*file/results\.jsonl"):
        evaluate(EPISODES, SOURCES, PointWorld, MAX_STEPS, tmp_path / "file" / "results.jsonl")


def test_a_dead_worker_and_a_failing_agent_are_reported_by_episode(tmp_path: Path) -> None:
    dying, confused = DyingSource(mode="single", noise=6.0), ConfusedSource(mode="single", noise=6.0)
    with pytest.raises(EvaluationError, match=r"a worker died during reach, seed \d, mode 'single'"):
        evaluate(EPISODES, [dying], PointWorld, MAX_STEPS, tmp_path / "dying.jsonl", workers=2)
    with pytest.raises(EvaluationError, match=r"(?s)reach, seed 0, mode 'single' failed.*no idea at step 0"):
        evaluate(EPISODES[:1], [confused], PointWorld, MAX_STEPS, tmp_path / "confused.jsonl", workers=2)


@pytest.mark.parametrize(("sources", "steps", "workers"), [((), 5, 1), ((SOURCES[0], SOURCES[0]), 5, 1), (SOURCES, 0, 1), (SOURCES, 5, 0)])
def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, sources: tuple[SteeringSource, ...], steps: int, workers: int) -> None:
    with pytest.raises(ValueError, match=r"at least (one|1)"):
        evaluate(EPISODES, sources, PointWorld, steps, tmp_path / "results.jsonl", workers=workers)


def test_the_table_pairs_episodes_and_reads_the_same_everywhere(serial: list[EpisodeRecord]) -> None:
    single, full = summarize([*serial, serial[0]])
    assert single.pooled.trials == full.pooled.trials == 12
    assert single.against_first is None
    comparison = full.against_first
    assert comparison is not None
    assert comparison.pairs == 12
    assert comparison.gained - comparison.lost == full.pooled.successes - single.pooled.successes
    assert comparison.difference.estimate == pytest.approx(full.pooled.interval.estimate - single.pooled.interval.estimate)
    markdown = success_markdown([single, full])
    assert markdown.startswith("| task | single | full |\n| --- | ---: | ---: |\n| reach |")
    assert f"| {comparison.gained} : {comparison.lost}, p " in markdown
    table = success_table([single, full], title="Success")
    assert table.row_count == markdown.count("\n| ") - 1


def test_a_mode_that_differs_in_nothing_has_no_interval(serial: list[EpisodeRecord]) -> None:
    single = [record for record in serial if record.result.mode == "single"]
    twin = [replace(record, result=replace(record.result, mode="twin")) for record in single]
    assert "+0.0 points, no episode differs" in success_markdown(summarize([*single, *twin]))


def test_modes_that_share_no_episode_are_not_compared(serial: list[EpisodeRecord]) -> None:
    apart = [r for r in serial if (r.result.mode == "single") == (r.result.task == "reach")]
    single, full = summarize(apart)
    assert full.against_first is None
    assert "| reach | " in success_markdown([single, full])
    assert "–" in success_markdown([single, full])
    with pytest.raises(ValueError, match="no episodes"):
        summarize([])
