"""`tau0 calibrate` on a tiny checkpoint and rollouts on disk: only the gate changes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tau0.checkpoint import Checkpoint, config_from_json, save
from tau0.cli import run
from tau0.contract import ActionChunk, Candidates, Decision
from tau0.evaluate.trace import EpisodeTrace, write_trace
from tau0.plan.spec import AgentSpec, scored_by

NUM = 3


def calibrate(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = run(["calibrate", *map(str, arguments)], Console(file=out, width=120), Console(file=err, width=200))
    return status, out.getvalue(), err.getvalue()


def rollouts(folder: Path, mark: str, num_episodes: int = 40) -> Path:
    """Two decisions an episode, those of failed ones with lower scores."""
    rng = np.random.default_rng(0)
    for seed in range(num_episodes):
        success = seed % 8 != 0
        decisions = []
        for step in (0, 8):
            actions = np.zeros((NUM, 9, 4), np.float32)
            scores = (rng.uniform(-1, 0, NUM) - (0 if success else 2)).astype(np.float32)
            chosen = int(scores.argmax())
            chunk = ActionChunk(actions=actions[chosen], control_hz=10.0)
            proposals = Candidates(actions=actions, scores=scores)
            decisions.append(Decision(step=step, mode="rcs", proposals=proposals, choice="rcs", chosen=chosen, chunk=chunk))
        trace = EpisodeTrace(
            task="reach-v3", instruction="reach", seed=seed, mode="rcs", success=success, num_steps=16, seconds=1.0,
            frames=np.zeros((0, 2, 4, 4, 3), np.uint8), frame_steps=np.zeros(0, np.int64), decisions=tuple(decisions), scored_by=mark,
        )  # fmt: skip
        write_trace(folder / f"episode-{seed:03d}", trace)
    return folder


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    save(checkpoint, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_share_is_met_drawn_and_kept_and_nothing_else_changes(tmp_path: Path, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    mark = scored_by(folder, NUM)
    traces = rollouts(tmp_path / "traces", mark)
    status, said, err = calibrate(folder, traces, "--simulate-share", "0.25", "--out", tmp_path / "plot", "--dry-run")
    assert (status, err) == (0, "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    status, said, err = calibrate(folder, traces, "--simulate-share", "0.25", "--out", tmp_path / "plot")
    assert (status, err) == (0, "")
    assert "25.0% of decisions" in said
    assert (tmp_path / "plot" / "gate.svg").read_text().startswith("<svg")
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"config.json"}
    old, new = (config_from_json(files["config.json"]) for files in (before, after))
    assert new.gate is not None
    assert old.gate is not None
    assert replace(new, gate=old.gate) == old
    assert (new.gate.sigmas, new.gate.num_noises, new.gate.margin) == (old.gate.sigmas, old.gate.num_noises, old.gate.margin)
    assert new.gate.curve
    assert scored_by(folder, NUM) == mark
    assert AgentSpec(checkpoint=folder, mode="full", num_candidates=NUM).scored_by == mark
    assert calibrate(folder, traces, "--risk", "0.3")[0] == 0


def test_other_levels_are_said_with_the_rollouts_and_go_into_the_gate(tmp_path: Path, folder: Path) -> None:
    spec = AgentSpec(checkpoint=folder, mode="rcs", num_candidates=NUM)
    search = replace(spec.search, score_sigmas=(0.6, 0.3), score_noises=4, score_error="relative")
    traces = rollouts(tmp_path / "traces", replace(spec, search=search).scored_by)
    assert "of another checkpoint, or of scores taken in another way" in calibrate(folder, traces, "--simulate-share", "0.5")[2]
    told = ("--score-sigmas", "0.6", "0.3", "--score-noises", "4", "--score-error", "relative")
    status, _, err = calibrate(folder, traces, "--simulate-share", "0.5", *told)
    assert (status, err) == (0, "")
    gate = config_from_json((folder / "config.json").read_bytes()).gate
    assert gate is not None
    assert (gate.sigmas, gate.num_noises, gate.error) == ((0.6, 0.3), 4, "relative")


def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, folder: Path) -> None:
    traces = rollouts(tmp_path / "traces", scored_by(folder, NUM), num_episodes=10)
    assert "give one of --simulate-share and --risk" in calibrate(folder, traces)[2]
    assert "give one of --simulate-share and --risk" in calibrate(folder, traces, "--risk", "0.1", "--simulate-share", "0.1")[2]
    assert "needs 29 episodes even if nothing goes wrong, got 10" in calibrate(folder, traces, "--risk", "0.1")[2]
    odd = calibrate(folder, traces, "--risk", "0.1", "--score-error", "relativ")[2]
    assert "unknown score-error 'relativ', did you mean 'relative'? (there are absolute, relative)" in odd
    assert "is not a folder" in calibrate(folder, tmp_path / "none", "--risk", "0.1")[2]
    assert "holds no folder named episode-*" in calibrate(folder, folder, "--risk", "0.1")[2]
    assert "must lie between 0 and 1" in calibrate(folder, traces, "--risk", "0.1", "--confidence", "2")[2]
    twice = calibrate(folder, traces, traces, "--risk", "0.1")[2]
    assert "reach-v3, seed 0, 'reach' is there twice: " in twice
    assert twice.count(str(traces / "episode-000")) == 2
    foreign = rollouts(tmp_path / "foreign", "0123456789abcdef", num_episodes=2)
    assert "says 0123456789abcdef" in calibrate(folder, foreign, "--simulate-share", "0.5")[2]
