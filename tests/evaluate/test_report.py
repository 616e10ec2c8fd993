"""The page needs nothing but itself, shows what was recorded, and says it in plain words."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_cards import fake_card
from fake_traces import fake_trace
from PIL import Image

from tau0.evaluate.report import ReportSummary, write_report
from tau0.evaluate.report_results import records_of
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


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        write_report(tmp_path / "r.html", [], ReportSummary())
    assert not list(tmp_path.iterdir())


def test_a_page_of_results_alone_has_tables_and_no_script(tmp_path: Path, trace: EpisodeTrace) -> None:
    text = write_report(tmp_path / "r.html", [], ReportSummary(records=records_of([trace]))).read_text(encoding="utf-8")
    assert not Page(text).scripts
    assert "None was recorded with video" in text
    assert "How often it succeeds" in text


def test_traces_are_taken_one_by_one(tmp_path: Path, trace: EpisodeTrace) -> None:
    summary = ReportSummary(records=records_of([trace]), counted=(trace,))
    taken: list[int] = []

    def read() -> Iterator[EpisodeTrace]:
        for i in range(2):
            taken.append(i)
            yield dataclasses.replace(trace, seed=i)

    text = write_report(tmp_path / "r.html", read(), summary, count=2).read_text(encoding="utf-8")
    assert taken == [0, 1]
    assert [episode["seed"] for episode in Page(text).episodes] == [0, 1]


def test_what_the_card_says_is_on_the_page(tmp_path: Path, trace: EpisodeTrace) -> None:
    text = write_report(tmp_path / "r.html", [trace], ReportSummary(card=fake_card())).read_text(encoding="utf-8")
    for words in ("Does it listen to the actions?", "wanted 25%", "A dream, moment by moment", "front, PSNR", "What it promises"):
        assert words in text
