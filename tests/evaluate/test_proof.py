"""An evaluation that is run again: what it will take, and whether it came out the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_closed_loop import PointWorld, SteeringSource

from tau0.cli.prove import spoken
from tau0.evaluate.forecast import Need, Pace, forecast_s, measure_pace, needs, num_processors
from tau0.evaluate.proof import Proof, read_proof, verdicts
from tau0.evaluate.records import EpisodeRecord, RecordsError, read_records
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


def test_a_misspelt_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "prove.toml").write_text('committed = "a.jsonl"\nmodes = ["single"]\ncandidate = 3\n')
    with pytest.raises(RecordsError, match="candidate"):
        read_proof(tmp_path / "prove.toml")
    (tmp_path / "prove.toml").write_text('committed = "a.jsonl"\nmodes = ["single"]\n')
    assert read_proof(tmp_path / "prove.toml") == Proof(committed=tmp_path / "a.jsonl", modes=("single",))
