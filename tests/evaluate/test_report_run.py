"""What of a run is found where, and which of it is shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fake_cards import fake_card
from fake_traces import fake_trace

from tau0.evaluate.records import append_record
from tau0.evaluate.report_results import records_of
from tau0.evaluate.report_run import RunError, find_run, read_notes, read_run, write_notes
from tau0.evaluate.trace import EpisodeTrace, TraceError, read_trace, read_trace_blindly, write_trace


def _blind(trace: EpisodeTrace) -> EpisodeTrace:
    none = np.zeros((0, *trace.frames.shape[1:]), np.uint8)
    return dataclasses.replace(trace, frames=none, frame_steps=np.zeros(0, np.int64))


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Results of two seeds in two modes; of the first seed with video."""
    traces = [
        dataclasses.replace(fake_trace(1, num_decisions=2, num_candidates=2, mode=mode, success=mode == "full"), seed=seed)
        for seed in (0, 1)
        for mode in ("single", "full")
    ]
    for trace, record in zip(traces, records_of(traces), strict=True):
        append_record(tmp_path / "results.jsonl", record)
        kept = trace if trace.seed == 0 else _blind(trace)
        write_trace(tmp_path / "results-traces" / f"episode-{trace.task}-{trace.seed:04d}-{trace.mode}", kept)
    return tmp_path


def test_results_and_traces_find_each_other(evaluation: Path) -> None:
    by_results, by_traces = find_run(evaluation / "results.jsonl"), find_run(evaluation / "results-traces")
    assert by_results == by_traces
    assert by_results.place == evaluation / "results-traces"
    assert len(by_results.traces) == 4
    content = read_run(by_results, limit=5)
    assert len(content.records) == 4
    assert [path.name for path in content.shown] == ["episode-push-v3-0000-full", "episode-push-v3-0000-single"]
    assert [trace.seed for trace in content.counted] == [0, 1]
    assert all(trace.mode == "full" and not len(trace.frames) for trace in content.counted)


def test_results_without_traces_and_a_folder_that_holds_them_are_runs(evaluation: Path) -> None:
    (evaluation / "evaluation.jsonl").write_text((evaluation / "results.jsonl").read_text())
    run = find_run(evaluation)
    assert (run.results, run.traces, run.place) == (evaluation / "evaluation.jsonl", (), evaluation / "evaluation.jsonl")
    content = read_run(run, limit=5)
    assert (len(content.records), content.counted, content.shown) == (4, (), ())


def test_a_demo_is_a_folder_of_traces(tmp_path: Path) -> None:
    write_trace(tmp_path / "demo" / "episode-000", fake_trace(2, num_decisions=2, num_candidates=2))
    content = read_run(find_run(tmp_path / "demo"), limit=5)
    assert (len(content.records), len(content.counted), len(content.shown)) == (1, 1, 1)


def test_wanted_episodes_are_shown_in_the_order_asked_for(evaluation: Path) -> None:
    run = find_run(evaluation / "results-traces")
    shown = read_run(run, 5, ("push-v3-0000-single", "episode-push-v3-0000-full")).shown
    assert [path.name for path in shown] == ["episode-push-v3-0000-single", "episode-push-v3-0000-full"]
    with pytest.raises(RunError, match="without video"):
        read_run(run, 5, ("push-v3-0001-full",))
    with pytest.raises(RunError, match="no trace 'reach-v3-0000-full'"):
        read_run(run, 5, ("reach-v3-0000-full",))


def test_a_card_of_another_checkpoint_is_not_this_runs(evaluation: Path) -> None:
    folder = evaluation / "results-traces"
    (evaluation / "card.json").write_text(json.dumps(fake_card()))
    assert find_run(folder).card == evaluation / "card.json"
    write_notes(folder, [("checkpoint", "nano, fingerprint 0123456789abcdef")])
    assert find_run(folder).card is None
    write_notes(folder, [("checkpoint", f"nano, fingerprint {fake_card()['fingerprint']}")])
    assert find_run(folder).card == evaluation / "card.json"
    (folder / "checkpoint-card.json").write_text(json.dumps(fake_card()))
    assert find_run(folder).card == folder / "checkpoint-card.json"
    (folder / "card.json").write_text("broken")
    assert find_run(folder).card == folder / "checkpoint-card.json"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        find_run(tmp_path / "nowhere")
    with pytest.raises(TraceError, match="no folder named episode"):
        find_run(tmp_path)
    notes = tmp_path / "notes.json"
    notes.write_text('{"a": 1}')
    with pytest.raises(RunError, match="pairs of name and value"):
        read_notes(notes)
    assert read_notes(None) == ()


def test_decisions_without_video_or_results_are_refused(tmp_path: Path) -> None:
    write_trace(tmp_path / "episode-000", _blind(fake_trace(2, num_decisions=2, num_candidates=2)))
    with pytest.raises(RunError, match="--video"):
        read_run(find_run(tmp_path), 5)


def test_a_trace_read_blindly_lacks_its_pictures_alone(tmp_path: Path) -> None:
    folder = write_trace(tmp_path / "episode-000", fake_trace(4, num_decisions=5, num_candidates=3))
    seen, blind = read_trace(folder), read_trace_blindly(folder)
    assert blind.frames.shape == (0, *seen.frames.shape[1:])
    assert (blind.success, blind.num_steps, blind.cameras) == (seen.success, seen.num_steps, seen.cameras)
    for one, other in zip(seen.decisions, blind.decisions, strict=True):
        assert other.proposals.frames is None
        assert (other.choice, other.milliseconds) == (one.choice, one.milliseconds)
        np.testing.assert_array_equal(other.proposals.actions, one.proposals.actions)
        assert (one.proposals.progress is None) == (other.proposals.progress is None)
    (folder / "arrays.safetensors").unlink()
    with pytest.raises(TraceError, match=r"holds no arrays\.safetensors"):
        read_trace_blindly(folder)
