"""An evaluation that is run again: what it will take, and whether it came out the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_closed_loop import PointWorld, SteeringSource
from rich.console import Console

from tau0.cli import run
from tau0.cli.prove import spoken
from tau0.evaluate.forecast import Need, Pace, forecast_s, measure_pace, needs, num_processors
from tau0.evaluate.proof import Proof, published_episodes, read_proof, verdicts
from tau0.evaluate.records import EpisodeRecord, RecordsError, append_record, read_records
from tau0.evaluate.runner import episodes_of, evaluate

SETTINGS = Path(__file__).parents[2] / "docs" / "results" / "prove.toml"
TASKS = ("near", "farther")
SOURCES = (SteeringSource(mode="single", noise=3.0), SteeringSource(mode="full", noise=1.0))


def run_again(out: Path, sources: tuple[SteeringSource, ...] = SOURCES) -> list[EpisodeRecord]:
    return evaluate(episodes_of(TASKS, range(8)), sources, PointWorld, 30, out)


def test_the_same_agents_come_out_the_same(tmp_path: Path) -> None:
    found = verdicts(run_again(tmp_path / "a.jsonl"), run_again(tmp_path / "b.jsonl"))
    assert [one.mode for one in found] == ["single", "full"]
    assert all(one.same == 16 and one.same_agent and not one.differs for one in found)


def test_a_worse_agent_is_found_out(tmp_path: Path) -> None:
    worse = tuple(replace(source, noise=60.0) for source in SOURCES)
    single, full = verdicts(run_again(tmp_path / "a.jsonl"), run_again(tmp_path / "b.jsonl", worse))
    assert full.differs
    assert not full.same_agent
    assert single.here.pooled.successes <= single.committed.pooled.successes


def test_other_episodes_are_refused(tmp_path: Path) -> None:
    records = run_again(tmp_path / "a.jsonl")
    with pytest.raises(RecordsError, match="do not match"):
        verdicts(records[:-1], records)
    with pytest.raises(RecordsError, match="no committed episodes of single, full"):
        verdicts([], records)


def test_a_pace_is_measured_and_counted(tmp_path: Path) -> None:
    pace = measure_pace(SOURCES[0], SOURCES[1], PointWorld, "near", 30)
    assert pace.ready_s > 0
    assert pace.decision_s > 0
    assert pace.simulating_s > 0
    records = run_again(tmp_path / "a.jsonl")
    needed = needs(records, 3, 30, [*TASKS, "unheard-of"], "full")
    assert needed["unheard-of"] == Need(decisions=10, simulated=10)
    own = [r.result for r in records if r.result.task == "near" and r.result.mode == "full"]
    assert needed["near"].decisions == sum(r.decisions for r in own) / len(own)


def test_a_forecast_adds_up() -> None:
    pace = Pace(ready_s=2.0, start_s=1.0, decision_s=0.5, simulating_s=3.0)
    need = Need(decisions=4, simulated=1)
    assert pace.episode_s(need) == 1 + 3 * 0.5 + 3
    todo = {"full": episodes_of(["near"], range(10)), "single": []}
    assert forecast_s(todo, {"full": pace}, {"full": {"near": need}}, 1) == 2 + 10 * 5.5
    at_once = min(4, num_processors())
    assert forecast_s(todo, {"full": pace}, {"full": {"near": need}}, 4) == (4 * 2 + 10 * 5.5) / at_once


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "a few seconds"), (60, "about 60 seconds"), (840, "about 14 minutes")])
def test_a_length_of_time_in_words(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_the_published_settings_fit_the_published_episodes() -> None:
    proof = read_proof(SETTINGS)
    records = [record for record in read_records(proof.committed) if record.result.mode in proof.modes]
    assert len(records) == len(proof.modes) * proof.episodes * len({record.result.task for record in records})
    assert {record.max_steps for record in records} == {proof.max_steps}
    assert {record.result.seed for record in records} == set(range(proof.first_seed, proof.first_seed + proof.episodes))


def test_what_was_published_is_checked_before_anything_runs(tmp_path: Path) -> None:
    records = run_again(tmp_path / "a.jsonl")
    episodes = episodes_of(TASKS, range(8))
    proof = Proof(committed=tmp_path / "a.jsonl", modes=("single", "full"), max_steps=30)
    assert published_episodes(proof, episodes) == records
    assert len(published_episodes(replace(proof, modes=("full",)), episodes[:3])) == 3
    for wrong, said in (
        (replace(proof, committed=tmp_path / "b.jsonl"), "b.jsonl is not there"),
        (replace(proof, modes=("single", "rcs")), "lacks 16 of 32 episodes that are to be proven, such as farther, seed 0, rcs"),
        (replace(proof, max_steps=40), "at most 30 steps, the settings allow 40"),
    ):
        with pytest.raises(RecordsError, match=said):
            published_episodes(wrong, episodes)
    append_record(proof.committed, replace(records[0], requested_instruction="go"))
    with pytest.raises(RecordsError, match="also holds, in other words, 1 of 32 episodes"):
        published_episodes(proof, episodes)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("noise_scale = 0", "--noise-scale is 0"),
        ("gate_threshold = nan", "--gate-threshold is nan"),
        ("still_below = 2", "--still-below is 2"),
        ("score_sigmas = [2.0]", "--score-sigmas holds 2"),
        ("episodes = 1", "a.jsonl is not there"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(setting: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "prove.toml").write_text(f'committed = "a.jsonl"\nmodes = ["single"]\n{setting}\n')
    stderr = Console(record=True, width=200)
    assert run(["prove", str(tmp_path / "prove.toml"), "--out", str(tmp_path / "out.jsonl")], stderr, stderr) == 2
    assert said in stderr.export_text()
    assert not (tmp_path / "out.jsonl").exists()


def test_a_misspelt_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "prove.toml").write_text('committed = "a.jsonl"\nmodes = ["single"]\ncandidate = 3\n')
    with pytest.raises(RecordsError, match="candidate"):
        read_proof(tmp_path / "prove.toml")
    (tmp_path / "prove.toml").write_text('committed = "a.jsonl"\nmodes = ["single"]\n')
    assert read_proof(tmp_path / "prove.toml") == Proof(committed=tmp_path / "a.jsonl", modes=("single",))
