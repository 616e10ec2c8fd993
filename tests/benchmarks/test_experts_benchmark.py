"""The benchmark of the experts goes on from what its file holds."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    return runpy.run_path(str(FOLDER / "experts.py"))


def test_what_was_played_is_not_played_again(script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "experts.jsonl"
    script["main"](["reach-v3"], script["Plan"](seeds=range(1), out=out))
    (first,) = map(json.loads, out.read_text().splitlines())
    assert first["solved_at"] is not None
    out.write_text(json.dumps({**first, "solved_at": None}) + "\n")
    script["main"](["reach-v3"], script["Plan"](seeds=range(2), out=out))
    assert "1 of 2" in capsys.readouterr().out
    assert [json.loads(line)["seed"] for line in out.read_text().splitlines()] == [0, 1]
    known = script["earlier"](out)
    assert len(list(script["played"]("reach-v3", script["Plan"](seeds=range(2), out=out), known))) == 2
    assert len(out.read_text().splitlines()) == 2
