"""The page in a real browser: its script draws, and a phone need not scroll sideways."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_cards import fake_card
from fake_traces import fake_trace

from tau0.evaluate.report import ReportSummary, write_report
from tau0.evaluate.report_results import records_of

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the command chromium")

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
WATCH = "<script>const mistakes = []; addEventListener('error', (event) => mistakes.push(event.message));</script>"
ASK = """<script>setTimeout(() => {
  document.querySelectorAll(".tick")[2].focus();
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  const page = document.documentElement;
  parent.postMessage(JSON.stringify([page.scrollWidth - page.clientWidth, mistakes, document.querySelector(".where b").textContent]), "*");
}, 500);</script>"""
PHONE = """<!doctype html><title>asked</title><script>addEventListener("message", (event) => { document.title = event.data; });</script>
<iframe src="page.html" style="width: 390px; height: 800px; border: 0"></iframe>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about two ways of deciding, with everything that a page can have."""
    folder = tmp_path_factory.mktemp("browser")
    trace = fake_trace(1, num_decisions=6, num_candidates=4)
    single = [fake_trace(i, num_decisions=2, mode="single", success=i != 1) for i in range(3)]
    summary = ReportSummary(records=records_of([trace, *single]), counted=(trace,), card=fake_card(), notes=(("command", "x" * 300),))
    write_report(folder / "page.html", [trace], summary)
    return folder


def _dom(folder: Path, address: str) -> str:
    command = ["chromium", *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000", "--dump-dom", address]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if run.returncode != 0:
        pytest.skip(f"chromium does not start here: {run.stderr[-200:]}")
    return run.stdout


def test_script_draws_in_a_real_browser(folder: Path) -> None:
    drawn = _dom(folder, f"{(folder / 'page.html').as_uri()}#episode=1&decision=3")
    assert drawn.count('role="tab"') == 7
    assert ">Decision 3</b> of 6" in drawn
    assert drawn.count('class="card ') >= 4
    assert "The same initial state:" in drawn


def test_a_phone_shows_it_whole_and_the_keyboard_steps_through_it(folder: Path) -> None:
    text = (folder / "page.html").read_text(encoding="utf-8")
    phone = folder / "phone"
    phone.mkdir()
    (phone / "page.html").write_text(text.replace("<body>", f"<body>{WATCH}").replace("</body>", f"{ASK}</body>"), encoding="utf-8")
    (phone / "frame.html").write_text(PHONE, encoding="utf-8")
    said = re.search(r"<title>(.*?)</title>", _dom(folder, (phone / "frame.html").as_uri()))
    assert said is not None
    assert said.group(1) == '[0,[],"Decision 4"]'
