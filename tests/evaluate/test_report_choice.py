"""Which episodes are shown, and that a page stays as small as it was told to."""

from __future__ import annotations

import json

import pytest
from fake_traces import fake_trace

from tau0.evaluate.report_choice import Met, episodes_worth_seeing, fit_episodes
from tau0.evaluate.trace import EpisodeTrace


def _met(task: str, seed: int, mode: str, success: bool) -> Met:
    return Met(task=task, seed=seed, mode=mode, success=success)


RUN = [
    *(_met("reach-v3", seed, mode, True) for seed in range(3) for mode in ("full", "single")),
    *(_met("push-v3", seed, "full", seed != 2) for seed in range(4)),
    *(_met("push-v3", seed, "single", seed == 2) for seed in range(3)),
]


def _chosen(limit: int, among: list[Met] | None = None) -> list[tuple[str, int, str]]:
    return [(RUN[i].task, RUN[i].seed, RUN[i].mode) for i in episodes_worth_seeing(RUN, limit, among or [])]


def test_tasks_take_turns_and_differences_come_first() -> None:
    assert _chosen(2) == [("reach-v3", 0, "full"), ("push-v3", 0, "full")]
    assert _chosen(4) == [("reach-v3", 0, "full"), ("reach-v3", 1, "full"), ("push-v3", 0, "full"), ("push-v3", 2, "full")]
    assert len(_chosen(100)) == len(RUN)
    assert episodes_worth_seeing([], 3) == []


def test_what_differs_is_told_by_the_whole_run() -> None:
    filmed = [_met("push-v3", seed, "full", True) for seed in range(3)]
    whole = [*filmed, *(_met("push-v3", seed, "single", seed != 1) for seed in range(3))]
    assert [filmed[i].seed for i in episodes_worth_seeing(filmed, 1, whole)] == [1]


@pytest.fixture(scope="module")
def traces() -> list[EpisodeTrace]:
    return [fake_trace(i, num_decisions=6, num_candidates=4) for i in range(2)]


def test_a_small_page_loses_the_least_telling_pictures_first(traces: list[EpisodeTrace]) -> None:
    whole = fit_episodes(traces, 2, 10_000_000)
    assert (len(whole.episodes), whole.num_plain, whole.num_left_out) == (2, 0, 0)
    size = sum(map(len, whole.episodes))
    for share in (0.9, 0.7):
        fitted = fit_episodes(traces, 2, round(share * size))
        assert sum(map(len, fitted.episodes)) <= share * size
        assert (len(fitted.episodes), fitted.num_left_out) == (2, 0)
        assert fitted.num_plain > 0
        for text in fitted.episodes:
            decisions = json.loads(text)["decisions"]
            plain = {decision["kind"] for decision in decisions if decision.get("isPlain")}
            kept = {decision["kind"] for decision in decisions if not decision.get("isPlain")}
            assert not ({"revised"} <= plain and kept & {"gate"})
            assert all(decision["rounds"][0]["candidates"][0]["score"] is not None for decision in decisions)


def test_what_does_not_fit_at_all_is_left_out_and_counted(traces: list[EpisodeTrace]) -> None:
    fitted = fit_episodes(traces, 2, 1000)
    assert (fitted.episodes, fitted.num_left_out) == ((), 2)


def test_an_episode_knows_what_became_of_its_state_elsewhere(traces: list[EpisodeTrace]) -> None:
    trace = traces[0]
    met = [_met(trace.task, trace.seed, mode, mode == "rcs") for mode in ("rcs", "single", "full")] + [_met(trace.task, 7, "oracle", True)]
    (text,) = fit_episodes([trace], 1, 10_000_000, met).episodes
    assert json.loads(text)["others"] == [{"mode": "single", "success": False}, {"mode": "rcs", "success": True}]
