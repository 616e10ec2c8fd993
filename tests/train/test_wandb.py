"""Weights & Biases itself, without a network. Skipped where it is not installed: it is nobody's requirement."""

from __future__ import annotations

from pathlib import Path

import pytest

from tau0.train.loop import Progress
from tau0.train.metrics import MetricsError, MetricsWriter

pytest.importorskip("wandb", reason="Weights & Biases is not installed")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_interrupted_run_is_shown_as_the_same_run(tmp_path: Path):
    out = tmp_path / "a: run"
    out.mkdir()
    for first in (1, 11):
        with MetricsWriter(out, first - 1, "project") as writer:
            for step in range(first, first + 10):
                writer.write(Progress(step=step, fraction=0.5, seconds=2.0, losses={"action": 1 / step}))
    runs = [path for path in (out / "wandb").iterdir() if path.name.startswith("offline-run")]
    assert len({path.name.rpartition("-")[2] for path in runs}) == 1
    logged = b"".join(file.read_bytes() for path in runs for file in path.glob("*.wandb"))
    assert b"loss/action" in logged


def test_what_it_refuses_is_said(tmp_path: Path):
    with pytest.raises(MetricsError, match=r"Weights & Biases cannot show the run: .*project name"):
        MetricsWriter(tmp_path, 0, "a/b:c")
