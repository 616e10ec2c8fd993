"""The benchmark of data runs from end to end at the smallest size. What it measures here means nothing."""

from __future__ import annotations

import runpy
import time
from pathlib import Path

import numpy as np
import pytest

from tau0.data.episodes import Dataset

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_one_call_measures_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    script = runpy.run_path(str(FOLDER / "data.py"))
    lengths = ((2, 30), (3, 30))
    script["main"](
        tmp_path, None, size="tiny", rounds=2, batch=4, samples=8, lengths=lengths, pixels=32, clock=time.process_time
    )  # fmt: skip
    said = capsys.readouterr().out
    for words in (
        "decoding alone",
        "from video, without the autoencoder",
        "cached / video",
        "as aligned before",
        "90",
        "with mapped files",
        "over the last third",
    ):
        assert words in said
    dataset = Dataset.open(tmp_path / "3x30")
    assert dataset.num_rows == 90
    assert not dataset.quirks
    first, last = (dataset.frames(episode, "front") for episode in (dataset.episodes[0], dataset.episodes[-1]))
    assert (first == last).all()
    assert np.abs(np.diff(first.astype(int), axis=0)).mean() > 1


def test_decoding_alone_decodes_every_frame_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    script = runpy.run_path(str(FOLDER / "data.py"))
    what = script["made_up"](tmp_path / "made", size="tiny", pixels=32, episodes=2, length=60)
    stream = script["Stream"](what, 6)
    decoder = script["Decoder"](stream, stream.read_by(script["cached"](stream, what.autoencoder())))
    wanted = decoder.wanted(0)
    assert decoder.decode(wanted) == sum(len(times) for _, times in wanted) > 6
    decoder.close()
