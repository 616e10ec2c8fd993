"""The page needs nothing but itself, shows what was recorded, and says it in plain words."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_traces import fake_trace
from PIL import Image

from tau0.contract import ActionChunk, Candidates, Decision
from tau0.evaluate.report import ReportSummary, TaskResult, write_report
from tau0.evaluate.report_words import best_progress, explain, number
from tau0.evaluate.trace import EpisodeTrace


class Page(HTMLParser):
    """Attributes that may load something, and the text of every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.scripts += [""] if tag == "script" else []
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data

    @property
    def episodes(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[0], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.fixture(scope="module")
def trace() -> EpisodeTrace:
    return fake_trace(1, num_decisions=6, num_candidates=4)


@pytest.fixture(scope="module")
def text(trace: EpisodeTrace, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(tmp_path_factory.mktemp("report") / "out" / "report.html", [trace], ReportSummary()).read_text(encoding="utf-8")


def test_page_asks_for_nothing_outside_itself(text: str) -> None:
    page = Page(text)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    without_pictures = re.sub(r"data:[a-z0-9/]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert set(re.findall(r"https?://[^\s\"'<)]+", without_pictures)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_page_is_of_moderate_size(text: str) -> None:
    assert len(text) < 400_000


def test_page_holds_every_decision_and_candidate(text: str, trace: EpisodeTrace) -> None:
    (episode,) = Page(text).episodes
    assert [shown["step"] for shown in episode["decisions"]] == [decision.step for decision in trace.decisions]
    for shown, decision in zip(episode["decisions"], trace.decisions, strict=True):
        rounds = [one for one in (decision.proposals, decision.revision) if one is not None]
        assert len(shown["rounds"]) == len(rounds)
        for drawn, candidates in zip(shown["rounds"], rounds, strict=True):
            assert candidates.scores is not None
            np.testing.assert_allclose([one["score"] for one in drawn["candidates"]], candidates.scores, rtol=1e-3)
            np.testing.assert_allclose([np.transpose(one["actions"]) for one in drawn["candidates"]], candidates.actions, atol=5e-3)
            if candidates.progress is not None:
                np.testing.assert_allclose([one["progress"] for one in drawn["candidates"]], candidates.progress, atol=1e-4)


def test_pictures_are_where_the_page_looks_for_them(text: str, trace: EpisodeTrace) -> None:
    (episode,) = Page(text).episodes
    index = next(i for i, decision in enumerate(trace.decisions) if decision.proposals.frames is not None)
    shown, frames = episode["decisions"][index], trace.decisions[index].proposals.frames
    assert frames is not None
    assert shown["offsets"] == [8, 16]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["sprite"]["src"].split(",")[1]))).convert("RGB"))

    def tile(number: int) -> np.ndarray:
        row, column = divmod(number, shown["sprite"]["columns"])
        h, w = shown["sprite"]["height"], shown["sprite"]["width"]
        return sheet[row * h : (row + 1) * h, column * w : (column + 1) * w].astype(float)

    def assert_close(one: int, picture: np.ndarray) -> None:
        assert np.abs(tile(one) - picture).mean() < 6

    step = trace.decisions[index].step
    now = int(np.flatnonzero(trace.frame_steps == step)[0])
    later = int(np.flatnonzero(trace.frame_steps == step + 16)[0])
    for view in range(2):
        assert_close(shown["now"][view], trace.frames[now, view])
        assert_close(shown["real"][1]["tiles"][view], trace.frames[later, view])
        for i in range(len(frames)):
            for f in range(2):
                assert_close(shown["rounds"][0]["candidates"][i]["frames"][f][view], frames[i, view, f])


def test_real_frames_after_the_end_are_absent(text: str) -> None:
    (episode,) = Page(text).episodes
    assert episode["decisions"][-1]["real"][1] is None
    assert episode["decisions"][0]["real"][1]["step"] == 16


def test_foreign_words_stay_words(tmp_path: Path, trace: EpisodeTrace) -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    one = dataclasses.replace(trace, instruction=nasty, task=nasty, cameras=(nasty, "wrist"))
    written = write_report(tmp_path / "r.html", [one], ReportSummary(title=nasty, lead=nasty, notes=((nasty, nasty),)))
    page = Page(written.read_text(encoding="utf-8"))
    assert len(page.scripts) == 2
    assert "x" not in page.addresses
    assert page.episodes[0]["instruction"] == nasty


@pytest.mark.parametrize("mode", ["single", "rcs"])
def test_modes_without_imagination_need_no_special_care(tmp_path: Path, mode: str) -> None:
    one = fake_trace(3, num_decisions=2, num_candidates=3, mode=mode, success=False)
    text = write_report(tmp_path / "r.html", [one], ReportSummary()).read_text(encoding="utf-8")
    assert "0<small>/1" in text
    assert "Imagine</h3>" not in text
    assert {shown["kind"] for shown in Page(text).episodes[0]["decisions"]} == {"direct"}


def test_an_episode_without_imagined_pictures_or_decisions(tmp_path: Path, trace: EpisodeTrace) -> None:
    blind = [dataclasses.replace(d, proposals=dataclasses.replace(d.proposals, frames=None), revision=None) for d in trace.decisions]
    episodes = [dataclasses.replace(trace, decisions=tuple(blind)), dataclasses.replace(trace, decisions=())]
    first, second = Page(write_report(tmp_path / "r.html", episodes, ReportSummary()).read_text(encoding="utf-8")).episodes
    assert first["decisions"][0]["rounds"][0]["candidates"][0]["frames"] is None
    assert second["decisions"] == []


def test_results_of_several_modes_make_a_table(tmp_path: Path, trace: EpisodeTrace) -> None:
    results = [TaskResult(task="reach-v3", mode=mode, successes=n, trials=40) for mode, n in (("full", 36), ("single", 32))]
    text = write_report(tmp_path / "r.html", [trace], ReportSummary(results=tuple(results))).read_text(encoding="utf-8")
    assert text.index("<b>single</b>") < text.index("<b>full</b>")
    assert "90%, 95% interval 77 to 96%" in text
    assert "first plan drawn: 32 of 40, 80%" in text
    assert 'aria-label="80 percent, 95% interval 65 to 90"' in text


def test_bad_results_and_no_episodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5 successes of 4 trials"):
        TaskResult(task="reach-v3", mode="full", successes=5, trials=4)
    with pytest.raises(ValueError, match="at least one episode"):
        write_report(tmp_path / "r.html", [], ReportSummary())
    assert not list(tmp_path.iterdir())


def _decision(**changes: Any) -> Decision:
    actions = np.zeros((3, 17, 4), np.float32)
    proposals = Candidates(actions=actions, scores=np.array([-0.2, -0.12, -0.3], np.float32))
    base = Decision(
        step=0, mode="full", proposals=proposals, choice="rcs", chosen=1, chunk=ActionChunk(actions=actions[0, :8], control_hz=10)
    )
    return dataclasses.replace(base, **changes)


def _rounds(*peaks: float) -> Candidates:
    progress = np.full((3, 17), -1, np.float32)
    progress[:, 11] = peaks
    return Candidates(actions=np.zeros((3, 17, 4), np.float32), scores=np.array([-0.2, -0.12, -0.3], np.float32), progress=progress)


TWELVE = ActionChunk(actions=np.zeros((12, 4), np.float32), control_hz=10)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            _decision(gate_threshold=-0.15, gate_passed=True),
            "The best of 3 candidates scored −0.12, above the gate of −0.15, so nothing had to be imagined. "
            "Candidate 2 was executed for 8 steps.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0.1, 0.2, 0.81),
                choice="simulated",
                chosen=2,
                peak=11,
                chunk=TWELVE,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Candidate 3 was executed for 12 steps, up to its own peak.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0, 0, 0.81),
                revision=_rounds(0.88, 0, 0),
                choice="revised",
                chosen=0,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Planning again from that future promised 0.88, so the revision was kept. Revised candidate 1 was executed for 8 steps.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0, 0, 0.81),
                revision=_rounds(0.5, 0, 0),
                choice="simulated",
                chosen=2,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Planning again from that future promised less, 0.50, so the original was kept. Candidate 3 was executed for 8 steps.",
        ),
        (
            _decision(
                gate_threshold=-0.08,
                gate_passed=False,
                proposals=_rounds(0, 0.78, 0.81),
                revision=_rounds(0.85, 0, 0),
                choice="simulated",
                chosen=1,
            ),
            "The best of 3 candidates scored −0.12, below the gate of −0.08, so all were imagined. Candidate 3 promised the most progress, "
            "0.81. Planning again from that future promised hardly more, 0.85, so the original was kept. Candidate 2 was executed for 8 "
            "steps. It promised 0.78, as much within the simulator's noise, and was the more consistent.",
        ),
        (
            _decision(gate_threshold=-0.119, gate_passed=False),
            "The best of 3 candidates scored −0.120, below the gate of −0.119, so it was not trusted, yet nothing was imagined. "
            "Candidate 2 was executed for 8 steps.",
        ),
        (
            _decision(gate_threshold=float("-inf"), gate_passed=True),
            "The best of 3 candidates scored −0.12; the gate lets everything pass, so nothing had to be imagined. "
            "Candidate 2 was executed for 8 steps.",
        ),
        (_decision(mode="rcs"), "Of 3 candidates, number 2 was the most consistent, with −0.12. Candidate 2 was executed for 8 steps."),
        (
            _decision(mode="single", choice="single", chosen=0, proposals=Candidates(actions=np.zeros((1, 17, 4), np.float32))),
            "One plan was drawn. It was executed for 8 steps.",
        ),
    ],
)
def test_a_decision_in_words(decision: Decision, words: str) -> None:
    assert explain(decision) == words


def test_words_count_the_steps_really_taken() -> None:
    assert explain(_decision(mode="rcs"), executed=1).endswith("was executed for 1 step.")


def test_numbers_are_written_as_people_do() -> None:
    assert number(0.0021, tiny=2) == number(-0.0021, tiny=2) == "0.00"
    assert [number(-0.081), number(0), number(0.0021), number(-1)] == ["−0.08", "0.00", "0.0021", "−1.00"]
    assert (number(-0.0712, beside=-0.0739), number(-0.5, beside=-0.5)) == ("−0.071", "−0.5000")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the command chromium")
def test_script_draws_in_a_real_browser(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.html").write_text(text, encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    address = f"{(tmp_path / 'r.html').as_uri()}#episode=1&decision=3"
    command = ["chromium", *options, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom", address]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if run.returncode != 0:
        pytest.skip(f"chromium does not start here: {run.stderr[-200:]}")
    drawn = run.stdout
    assert drawn.count('role="tab"') == 7
    assert ">Decision 3</b> of 6" in drawn
    assert drawn.count('class="card ') >= 4


def test_of_equal_promises_the_more_consistent_one_is_named_as_the_planner_takes_it() -> None:
    progress = np.array([[0.2, 1.0], [1.0, 0.3], [0.5, 0.9]], np.float32)
    candidates = Candidates(actions=np.zeros((3, 2, 4), np.float32), scores=np.array([-0.3, -0.1, -0.01], np.float32), progress=progress)
    assert best_progress(candidates) == (1, 1.0)
    assert best_progress(dataclasses.replace(candidates, scores=None)) == (0, 1.0)
