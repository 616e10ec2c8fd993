"""A gate from rollouts: it does what was asked, with the confidence that was asked, or says why not."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tau0.checkpoint import GateConfig
from tau0.contract import ActionChunk, Candidates, Decision
from tau0.evaluate.calibration import Goal, chosen_gate, curve, point_at, ranking_quality, threshold_for_risk, upper_bound
from tau0.evaluate.curve_plot import curve_svg
from tau0.evaluate.scored_decisions import CalibrationError, ScoredDecisions, scored_decisions
from tau0.evaluate.trace import EpisodeTrace

GATE = GateConfig(threshold=-9.0, sigmas=(0.6, 0.3), num_noises=2, margin=0.25, chosen_by="before")


def decision(score: float, step: int = 0, outcome: float | None = None, expert_steps: float | None = None, num: int = 3) -> Decision:
    actions = np.zeros((num, 9, 2), np.float32)
    scores = np.full(num, score - 1, np.float32)
    scores[1] = score
    outcomes = None if outcome is None else np.array([99.0, outcome, 99.0], np.float32)
    return Decision(
        step=step,
        mode="rcs",
        proposals=Candidates(actions=actions, scores=scores, outcomes=outcomes),
        choice="rcs",
        chosen=1,
        chunk=ActionChunk(actions=actions[1, :8], control_hz=10.0),
        expert_steps=expert_steps,
    )


def trace(seed: int, decisions: Sequence[Decision], success: bool = True, mode: str = "rcs", scored_by: str = "ours") -> EpisodeTrace:
    return EpisodeTrace(
        task="reach-v3", instruction="reach", seed=seed, mode=mode, success=success, num_steps=8 * len(decisions), seconds=1.0,
        frames=np.zeros((0, 2, 4, 4, 3), np.uint8), frame_steps=np.zeros(0, np.int64), decisions=tuple(decisions), scored_by=scored_by,
    )  # fmt: skip


def named(num_candidates: int) -> str:
    return "ours" if num_candidates == 3 else "others"


def drawn(num_episodes: int, each: int = 4, seed: int = 0, slope: float = 4.0) -> ScoredDecisions:
    """Decisions whose chance to be bad falls with their score."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-1, 0, num_episodes * each)
    bad = rng.uniform(size=len(scores)) < np.exp(-slope * (1 + scores)) * 0.8
    return ScoredDecisions(
        scores=scores, is_bad=bad, episodes=np.repeat(np.arange(num_episodes), each), num_candidates=3, label="wasted chunk"
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_the_wanted_share_is_simulated(share: float) -> None:
    decisions = drawn(50)
    gate, point = chosen_gate(decisions, GATE, Goal(simulate_share=share))
    assert point.simulated == pytest.approx(share, abs=1 / len(decisions.scores))
    assert float((decisions.scores < gate.threshold).mean()) == point.simulated
    assert (gate.sigmas, gate.num_noises, gate.margin) == (GATE.sigmas, GATE.num_noises, GATE.margin)
    assert "200 decisions of 50 rollouts with 3 candidates" in gate.chosen_by
    assert gate.num_candidates == 3
    assert gate.curve
    assert all(0 <= precision <= 1 and 0 <= recall <= 1 for _, precision, recall in gate.curve)


def test_the_wanted_risk_is_kept_on_new_decisions() -> None:
    kept = 0
    for seed in range(40):
        point = threshold_for_risk(drawn(120, seed=seed), 0.2, 0.9)
        assert point.risk <= point.risk_bound <= 0.2
        fresh = drawn(4000, seed=1000 + seed)
        kept += point_at(fresh, point.threshold, 0.9).risk <= 0.2
    assert kept >= 36


def test_more_risk_simulates_less() -> None:
    decisions = drawn(300)
    shares = [threshold_for_risk(decisions, risk, 0.95).simulated for risk in (0.1, 0.2, 0.3)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_what_cannot_be_known_is_refused() -> None:
    with pytest.raises(CalibrationError, match="needs 29 episodes even if nothing goes wrong, got 20"):
        threshold_for_risk(drawn(20), 0.1, 0.95)
    with pytest.raises(CalibrationError, match="none is bad"):
        threshold_for_risk(drawn(200, slope=1e9), 0.1, 0.95)
    with pytest.raises(CalibrationError, match="all are bad"):
        threshold_for_risk(ScoredDecisions(**{**vars(drawn(60)), "is_bad": np.ones(240, np.bool_)}), 0.1, 0.95)
    with pytest.raises(CalibrationError, match=r"no threshold meets a risk of 0\.05"):
        threshold_for_risk(drawn(100, slope=0.1), 0.05, 0.95)
    with pytest.raises(CalibrationError, match=r"between 0 and 1, got 1\.5"):
        threshold_for_risk(drawn(100), 1.5, 0.95)
    with pytest.raises(CalibrationError, match=r"below 1, got 1\.0"):
        chosen_gate(drawn(10), GATE, Goal(simulate_share=1.0))


def test_the_curve_counts() -> None:
    decisions = ScoredDecisions(
        scores=np.array([-1.0, -2.0, -3.0, -4.0]), is_bad=np.array([False, True, False, True]), episodes=np.array([0, 0, 1, 1]),
        num_candidates=3, label="wasted chunk",
    )  # fmt: skip
    points = curve(decisions, 0.95)
    assert [(p.threshold, p.simulated, p.recall, p.risk) for p in points] == [
        (-1.0, 0.75, 1.0, 0.0), (-2.0, 0.5, 0.5, 0.5), (-3.0, 0.25, 0.5, pytest.approx(1 / 3)), (-4.0, 0.0, 0.0, 0.5),
    ]  # fmt: skip
    assert [p.precision for p in points[:3]] == pytest.approx([2 / 3, 0.5, 1.0])
    assert math.isnan(points[3].precision)
    assert ranking_quality(decisions) == pytest.approx(0.75)


def test_a_failure_counts_once_however_long_it_lasts() -> None:
    long_failure = [decision(-1.0, step) for step in range(30)]
    decisions = scored_decisions([trace(0, long_failure, success=False), trace(1, [decision(-1.0)])], named)
    assert decisions.label == "failed episode"
    assert point_at(decisions, -2.0, 0.95).risk == pytest.approx(0.5)


def test_the_bound_is_not_zero_at_zero() -> None:
    assert upper_bound(0.0, 25, 0.95) == pytest.approx(1 - 0.05 ** (1 / 25))
    assert upper_bound(0.0, 0, 0.95) == 1.0
    assert upper_bound(0.3, 50, 0.95) > upper_bound(0.3, 500, 0.95) > 0.3


@pytest.mark.parametrize("trials", [20, 52, 200])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_bound_holds_its_level_at_every_risk(trials: int, confidence: float) -> None:
    bounds = [upper_bound(bad / trials, trials, confidence) for bad in range(trials + 1)]
    for risk in np.linspace(0.002, 0.998, 250):
        too_small = [bad for bad, bound in enumerate(bounds) if bound < risk]
        chance = sum(math.comb(trials, bad) * risk**bad * (1 - risk) ** (trials - bad) for bad in too_small)
        assert chance <= 1 - confidence + 1e-9


def flawless(num_episodes: int, decisions_of_first: int = 1) -> ScoredDecisions:
    """One good decision an episode, more in the first, which also holds the only bad one, of the lowest score."""
    episodes = np.array([0] * (1 + decisions_of_first) + list(range(1, num_episodes)))
    return ScoredDecisions(
        scores=-np.arange(len(episodes), dtype=np.float64)[::-1] / len(episodes) - (episodes == 0) * (np.arange(len(episodes)) == 0),
        is_bad=np.arange(len(episodes)) == 0,
        episodes=episodes,
        num_candidates=3,
        label="wasted chunk",
    )


def test_a_flawless_record_must_be_as_long_as_the_risk_asks() -> None:
    for num in (52, 58):
        with pytest.raises(CalibrationError, match=f"needs 59 episodes even if nothing goes wrong, got {num}"):
            threshold_for_risk(flawless(num), 0.05, 0.95)
    point = threshold_for_risk(flawless(59), 0.05, 0.95)
    assert (point.risk, point.risk_bound) == (0.0, pytest.approx(1 - 0.05 ** (1 / 59)))


def test_an_episode_of_many_decisions_does_not_count_for_many_episodes() -> None:
    even, uneven = (point_at(flawless(60, num), -0.9999, 0.95) for num in (1, 60))
    assert even.risk == uneven.risk == 0.0
    effective = 119**2 / (60**2 + 59)
    assert even.risk_bound == pytest.approx(1 - 0.05 ** (1 / 60))
    assert uneven.risk_bound == pytest.approx(1 - 0.05 ** (1 / effective))


def test_a_wasted_chunk_is_one_after_which_the_expert_is_no_nearer() -> None:
    made = [
        decision(-1.0, outcome=20.0, expert_steps=20.0),
        decision(-1.0, outcome=28.0, expert_steps=20.0),
        decision(-1.0, outcome=27.0, expert_steps=20.0),
        decision(-1.0, outcome=math.inf, expert_steps=20.0),
        decision(-1.0, outcome=5.0, expert_steps=9.0),
        decision(-1.0, outcome=math.inf, expert_steps=math.inf),
    ]
    decisions = scored_decisions([trace(0, made)], named)
    assert decisions.label == "wasted chunk"
    assert decisions.is_bad.tolist() == [False, True, False, True, False]


def test_traces_that_do_not_belong_are_refused() -> None:
    good = trace(0, [decision(-1.0)])
    with pytest.raises(CalibrationError, match="no trace of mode 'rcs' \\(modes: full\\)"):
        scored_decisions([trace(0, [decision(-1.0)], mode="full")], named)
    with pytest.raises(CalibrationError, match=r"reach-v3, seed 4, is of another checkpoint.* it says theirs, expected ours"):
        scored_decisions([good, trace(4, [decision(-1.0)], scored_by="theirs")], named)
    with pytest.raises(CalibrationError, match="it says nothing"):
        scored_decisions([trace(4, [decision(-1.0)], scored_by="")], named)
    with pytest.raises(CalibrationError, match=r"one number of candidates, got \[3, 4\]"):
        scored_decisions([good, trace(1, [decision(-1.0, num=4)])], named)
    with pytest.raises(CalibrationError, match="from none of 1 decisions even the expert succeeds in time"):
        scored_decisions([trace(0, [decision(-1.0, outcome=math.inf, expert_steps=math.inf)])], named)
    with pytest.raises(CalibrationError, match="1 of 1 scores are not finite"):
        scored_decisions([trace(0, [decision(math.nan)])], named)


def test_one_episode_is_not_counted_as_two() -> None:
    good = trace(0, [decision(-1.0)])
    other_words, other_mode = replace(good, instruction="touch"), replace(good, mode="full")
    assert scored_decisions([good, other_words, other_mode, trace(1, [decision(-1.0)])], named).num_episodes == 3
    with pytest.raises(CalibrationError, match="reach-v3, seed 0, 'reach' is there twice; give each episode once"):
        scored_decisions([good, other_mode, replace(good, success=False)], named)
    with pytest.raises(CalibrationError, match="twice: a/episode-000 and b/episode-003; give"):
        scored_decisions([good, good], named, [Path("a/episode-000"), Path("b/episode-003")])


def test_the_picture_is_a_document() -> None:
    decisions = drawn(60)
    _, point = chosen_gate(decisions, GATE, Goal(simulate_share=0.5))
    svg = curve_svg(curve(decisions, 0.95), point, float(decisions.is_bad.mean()), "a & b <c>", decisions.label)
    root = ET.fromstring(svg)
    kinds = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert kinds.count("polyline") == 1
    assert kinds.count("circle") == 1
    assert "nan" not in svg


def test_decisions_with_and_without_outcomes_are_not_mixed() -> None:
    tried, untried = decision(0.5, outcome=9.0, expert_steps=9.0), decision(0.4)
    with pytest.raises(CalibrationError, match="2 of 3 decisions were recorded without --outcomes and the others with it"):
        scored_decisions([trace(0, [tried, untried]), trace(1, [untried])], named)
