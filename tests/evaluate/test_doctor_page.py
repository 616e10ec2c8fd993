"""The doctor's page: complete, self-contained, and safe to open whatever the dataset says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tau0.data.doctor.diagnosis import CameraReport, Diagnosis, EpisodeLine, ShownEpisode
from tau0.data.doctor.label_rules import Coverage
from tau0.data.doctor.number_rules import Dimension
from tau0.data.findings import Finding
from tau0.evaluate.doctor_page import verdict, write_doctor_page

FRONT = "observation.images.front"


@pytest.fixture
def diagnosis() -> Diagnosis:
    rng = np.random.default_rng(0)
    late = Finding(severity="warning", check="time", where="data/0.parquet", what="starts late", advice="nothing to do", episode=4)
    quantiles = (-1.0, -0.9, -0.5, 0.0, 0.5, 0.9, 1.0)
    dims = [
        Dimension(feature=feature, index=i, name=name, low=-1, high=high, quantiles=quantiles, std=0.5)
        for feature in ("observation.state", "action")
        for i, (name, high) in enumerate((("x", 1), ("still", -1)))
    ]
    series = {feature: np.stack([rng.normal(size=30), np.ones(30)], axis=1) for feature in ("observation.state", "action")}
    return Diagnosis(
        root=Path("somewhere/pick <up>"),
        version="v2.1",
        robot="arm",
        fps=10,
        num_rows=60,
        seconds=6,
        num_watched=2,
        cameras=(
            CameraReport(
                name=FRONT, size=(48, 64), codec="h264", num_files=2, num_frames=60, lag=0, alignment="aligned", curve=(0.0, 0.9, 0.1)
            ),
        ),
        dimensions=tuple(dims),
        coverage=(Coverage(label="instruction", episodes=1, detail="1 text"),),
        shown=(
            ShownEpisode(
                index=4,
                instruction="lift the <script>ball</script>",
                length=30,
                seconds=3,
                series=series,
                pictures={FRONT: rng.integers(0, 255, (2, 48, 64, 3), dtype=np.uint8)},
                picture_frames={FRONT: (0, 29)},
            ),
        ),
        episodes=tuple(
            EpisodeLine(index=i, length=30, seconds=3, instruction="lift", success=won, worst=worst)
            for i, won, worst in ((4, True, "warning"), (5, None, ""))
        ),
        findings=(late, replace(late, episode=5), replace(late, severity="error", what="broken & gone", episode=None)),
    )


def test_everything_is_on_the_page_and_nothing_is_fetched(diagnosis: Diagnosis, tmp_path: Path) -> None:
    page = write_doctor_page(tmp_path / "new" / "report.html", diagnosis).read_text("utf-8")
    assert "Not usable as it is: 1 error, and 1 thing to look at." in page
    assert "lift the &lt;script&gt;ball" in page
    assert "broken &amp; gone" in page
    assert "The same in 2 episodes: 4, 5" in page
    assert page.count("data:image/webp;base64,") == 2
    assert page.count('class="plot"') == 1
    assert "1 number without motion in this episode: still." in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert not list(tmp_path.glob("new/.*"))


def test_a_dataset_that_could_not_be_opened(tmp_path: Path) -> None:
    finding = Finding(severity="error", check="opening", where="here", what="meta/info.json is missing", advice="complete the download")
    page = write_doctor_page(tmp_path / "report.html", Diagnosis(root=tmp_path, findings=(finding,))).read_text("utf-8")
    assert "meta/info.json is missing" in page
    assert "Every episode" not in page


def test_verdicts(diagnosis: Diagnosis) -> None:
    assert verdict(replace(diagnosis, findings=())) == "Sound: nothing to complain about."
    assert verdict(replace(diagnosis, findings=diagnosis.findings[:1])) == "Usable, with 1 thing to look at."
    assert verdict(replace(diagnosis, findings=diagnosis.findings[2:])) == "Not usable as it is: 1 error."
