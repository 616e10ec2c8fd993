"""The benchmarks run from end to end at the smallest size. What they measure here means nothing."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    return runpy.run_path(str(FOLDER / f"{request.param}.py"))


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_one_call_measures_everything(script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = script["main"]("tiny", torch.device("cpu"), rounds=1, batch=2, out=tmp_path / "found.json")
    works = {"query, candidates: 1", "query, candidates: 16", "training step, policy", "training step, simulator"}
    assert {row.work for row in rows} == works | {"propose, simulate, revise, candidates: 4"}
    assert [row.error for row in rows] == [""] * len(rows)
    assert all(row.median_ms > 0 and row.p95_ms >= row.median_ms and 0 < row.share_of_peak < 1 for row in rows)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["work"] for row in found["rows"]] == [row.work for row in rows]
    assert "no GPU" in found["device"]
    assert "training step, simulator" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_what_fails_is_reported_and_the_rest_goes_on(script: dict[str, Any]) -> None:
    def broken() -> Any:
        raise RuntimeError("CUDA out of memory\nmore about it")

    row = script["_row"]("query", "as it is", torch.device("cpu"), 1, 1.0, broken)
    assert row.error == "RuntimeError: CUDA out of memory"
    assert row.median_ms is None
    assert script["_table"]([row], "title").row_count == 1


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
@torch.inference_mode()
def test_the_query_that_is_timed_is_the_policys(script: dict[str, Any]) -> None:
    """Of the parts of the library, put together without a copy from the host: the planner's own proposals from the same noise."""
    from tau0.flow import TIMESTEP_SCALE, UniPC, solve, unipc_schedule

    config, scene = script["preset"]("tiny").model, script["SCENES"]["tiny"]
    model = script["build"](config, torch.device("cpu"))
    queries = script["Queries"](model, scene, torch.device("cpu"))
    actions, scores = queries.propose(4, queries.future)
    assert (actions.shape, scores.shape) == ((4, 17, 4), (4,))
    levels = torch.tensor([[0.0, TIMESTEP_SCALE, TIMESTEP_SCALE]])
    features = model.video_features(torch.cat([queries.current, queries.future], dim=2), levels, queries.words)
    noise, state = queries._chunk_noise[4], queries.state.expand(4, -1)
    plain = solve(
        UniPC(unipc_schedule(script["SAMPLING"].action_steps)),
        noise,
        lambda noisy, t: model.denoise_actions(features.hidden, noisy, t.expand(4), state),
    )
    torch.testing.assert_close(actions, plain, atol=1e-5, rtol=0)
    assert queries.simulate(actions).progress.shape == (4, 17)
