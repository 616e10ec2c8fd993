"""Finished episodes that lack what is asked for now are counted, not passed over in silence."""

from __future__ import annotations

from pathlib import Path

from fake_candidates import GuessingSource
from fake_closed_loop import SOURCES, PointWorld

from tau0.cli.evaluate import Evaluate
from tau0.evaluate.kept import finished_traces, num_without
from tau0.evaluate.runner import episodes_of, evaluate
from tau0.evaluate.trace import has_outcomes, has_video
from tau0.evaluate.workers import Recording


def test_what_finished_episodes_lack_is_counted_and_said(tmp_path: Path) -> None:
    out, recording = tmp_path / "out.jsonl", Recording(folder=tmp_path / "traces")
    episodes = episodes_of(["touch"], range(3))
    assert finished_traces(out, episodes, ["single"], recording) == []
    evaluate(episodes, SOURCES[:1], PointWorld, 12, out, recording=recording)
    evaluate(episodes[:2], [GuessingSource(mode="knows", scores="true")], PointWorld, 12, out, recording=recording)
    found = finished_traces(out, episodes[:2], ["single", "knows"], recording)
    folders = [folder for _, folder in found]
    assert len(found) == 4
    assert (num_without(folders, has_outcomes), num_without(folders, has_video)) == (2, 4)
    (folders[0] / "trace.json").write_text("no")
    assert num_without(folders, has_outcomes) == 2
    command = Evaluate(checkpoint="shipped", out=out, episodes=3, outcomes=True, video=True, video_seeds=1)
    assert command._lacking(episodes, ["single"], recording.folder) == [
        f"3 finished episodes of {out} recorded without outcomes, not run again: to have outcomes, use another --out",
        f"1 finished episode of {out} recorded without video, not run again: to have video, use another --out",
    ]
    assert Evaluate(checkpoint="shipped", out=out)._lacking(episodes, ["single"], recording.folder) == []
