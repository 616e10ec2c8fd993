"""Episodes in a world that does not wait, with the real safety filter between."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_closed_loop import POINT, PointWorld, SteeringAgent, SteeringSource

from tau0.checkpoint import Checkpoint, save
from tau0.cli.arguments import EXECUTORS
from tau0.cli.realtime import Realtime, make_guard
from tau0.contract import ContractError, Decision, Observation
from tau0.evaluate.delay_table import delay_markdown, delay_table, summarize_delays
from tau0.evaluate.delayed import Delay, DelayedSource, rms_jerk, run_delayed_episode
from tau0.evaluate.episodes import run_episode
from tau0.evaluate.records import read_records
from tau0.evaluate.runner import episodes_of, evaluate
from tau0.evaluate.trace import read_traces
from tau0.evaluate.workers import Recording
from tau0.limits import SafetyLimits
from tau0.plan.executor import KINDS, ExecutorConfig
from tau0.worlds.registry import limits_of

NONE = (None, None)
LIMITS = SafetyLimits(
    meaning=("step", "step"), step_size=(0.1, 0.1), low=NONE, high=NONE, speed=(1.0, 1.0), acceleration=(20.0, 20.0)
)  # fmt: skip
MAX_STEPS = 40


def source(kind: Any, delay_ms: float, limits: SafetyLimits = LIMITS) -> DelayedSource:
    executor = ExecutorConfig(kind=kind, action_horizon=POINT.action_horizon, query_every=2)
    agent = SteeringSource(mode="single", noise=0.3)
    return DelayedSource(
        agent=agent,
        delay=Delay(delay_ms=delay_ms, rate_hz=POINT.control_hz, executor=executor),
        make_guard=partial(make_guard, limits=limits),
    )


class Listener(SteeringAgent):
    """Remembers what it was told of the robot's plans."""

    def __init__(self) -> None:
        super().__init__("single", 0.0, chunk_steps=POINT.action_horizon)
        self.heard: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.heard.append(observation)
        return super().decide(observation)


def test_without_delay_a_robot_that_waits_does_what_it_always_does() -> None:
    world = PointWorld("reach", MAX_STEPS)
    waiting = run_episode(world, SteeringAgent("single", 0.3), 3)
    late = run_delayed_episode(world, SteeringAgent("single", 0.3), source("naive", 0.0), 3)
    assert late.jerk is not None
    timeless = {"seconds": 0.0, "decision_ms": 0.0, "jerk": None, "trips": 0}
    assert replace(late, **timeless) == replace(waiting, **timeless)


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_step_is_executed_and_delays_cost_steps(kind: Any) -> None:
    world = PointWorld("reach", MAX_STEPS)
    steps = []
    for delay_ms in (0.0, 150.0, 400.0):
        agent = Listener()
        result = run_delayed_episode(world, agent, source(kind, delay_ms), 1)
        assert result.success
        assert result.held >= (0 if delay_ms == 0 else Delay.steps.fget(source(kind, delay_ms).delay))  # pyright: ignore
        steps.append(result.steps)
    assert steps == sorted(steps)
    assert steps[0] < steps[-1]


def test_delays_are_whole_control_steps() -> None:
    for delay_ms, steps in ((0.0, 0), (1.0, 1), (100.0, 1), (101.0, 2), (200.0, 2), (400.0, 4)):
        assert source("rtc", delay_ms).delay.steps == steps


def test_real_time_chunking_tells_what_was_really_done_next() -> None:
    world, agent, told = PointWorld("reach", MAX_STEPS), Listener(), []
    step = world.step
    world.step = lambda action: (told.append(np.array(action)), step(action))[1]  # type: ignore[method-assign]
    run_delayed_episode(world, agent, source("rtc", 200.0), 1)
    spoken = [o for o in agent.heard if o.committed is not None and len(o.committed.actions)]
    assert spoken
    for observation in spoken:
        committed = observation.committed
        assert committed is not None
        for ahead, action in enumerate(committed.actions[: committed.num_frozen]):
            if observation.step + ahead < len(told):
                np.testing.assert_allclose(told[observation.step + ahead], action, atol=1e-6)
    assert all(o.committed is None for o in _heard("naive"))
    assert all(o.committed is not None and len(o.committed.actions) == 0 for o in _heard("async"))


def _heard(kind: Any) -> list[Observation]:
    agent = Listener()
    run_delayed_episode(PointWorld("reach", MAX_STEPS), agent, source(kind, 200.0), 1)
    return agent.heard


def test_a_suite_of_delays_is_recorded_paired_and_resumable(tmp_path: Path) -> None:
    sources: list[Any] = [source(kind, late) for late in (100.0, 300.0) for kind in ("naive", "async")]
    episodes = episodes_of(["reach", "push"], range(4))
    out, recording = tmp_path / "out.jsonl", Recording(folder=tmp_path / "traces", frame_every=5)
    records = evaluate(episodes, sources, PointWorld, MAX_STEPS, out, recording=recording)
    assert read_records(out) == records
    assert evaluate(episodes, sources, PointWorld, MAX_STEPS, out) == records
    assert len(list(read_traces(recording.folder))) == len(records) == 32
    assert len({source.fingerprint for source in sources}) == 4
    summaries = summarize_delays(records)
    assert [summary.mode for summary in summaries] == [
        "single naive 100 ms",
        "single async 100 ms",
        "single naive 300 ms",
        "single async 300 ms",
    ]
    assert [summary.gain is None for summary in summaries] == [True, False, True, False]
    assert summaries[3].held < summaries[2].held
    assert "single async 300 ms" in delay_markdown(summaries)
    assert delay_table(summaries).row_count == 4
    waits = evaluate(episodes[:1], [SteeringSource(mode="single", noise=0.3)], PointWorld, MAX_STEPS, tmp_path / "waits.jsonl")
    with pytest.raises(ValueError, match="its world waited"):
        summarize_delays(waits)


def test_limits_of_the_checkpoints_own_are_another_evaluation() -> None:
    plain = source("rtc", 100.0)
    own = [replace(plain, own_limits=limits) for limits in (LIMITS, replace(LIMITS, speed=(0.5, 0.5)))]
    assert len({plain.fingerprint, *(one.fingerprint for one in own)}) == 3
    settings = f"{plain.agent.fingerprint} {sorted(asdict(plain.delay).items())}"
    assert plain.fingerprint == hashlib.sha256(settings.encode()).hexdigest()[:16]


def test_the_command_tells_limits_of_the_checkpoints_own(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save(checkpoint, tmp_path / "tiny")
    usual = limits_of(checkpoint.config.embodiment)
    marks = []
    for safety, own in ((None, None), (usual, None), (replace(usual, max_age_s=1.0), replace(usual, max_age_s=1.0))):
        limited = replace(checkpoint, config=replace(checkpoint.config, safety=safety))
        (made,) = Realtime(checkpoint="tiny", delay_ms=(100.0,), executors=("naive",))._sources(tmp_path / "tiny", limited)
        assert made.own_limits == own
        marks.append(made.fingerprint)
    assert marks[0] == marks[1] != marks[2]


def test_a_robot_that_nobody_can_hold_is_refused() -> None:
    world = PointWorld("reach", MAX_STEPS)
    with pytest.raises(ContractError, match="how it holds still"):
        run_delayed_episode(world, Listener(), source("naive", 100.0, SafetyLimits.unknown(POINT.action)), 1)
    with pytest.raises(ValueError, match="max_steps"):
        run_delayed_episode(world, Listener(), source("naive", 100.0), 1, max_steps=0)


def test_jerk_is_the_third_derivative() -> None:
    seconds = np.arange(50) / 10
    states = np.stack([seconds**3, 2 * seconds**2], axis=1).astype(np.float32)
    assert rms_jerk(states, 10.0) == pytest.approx(6.0, rel=0.05)
    assert rms_jerk(states[:3], 10.0) is None


def test_the_command_line_knows_every_executor() -> None:
    assert EXECUTORS == KINDS
