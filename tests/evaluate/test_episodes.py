from dataclasses import replace

import numpy as np
import pytest
from fake_closed_loop import POINT, PointWorld, SteeringAgent

from tau0.contract import ContractError, Decision, Observation
from tau0.evaluate.episodes import EpisodeResult, run_episode
from tau0.evaluate.recorder import TraceRecorder


def timeless(result: EpisodeResult) -> EpisodeResult:
    return replace(result, seconds=0.0, decision_ms=0.0)


def test_episode_ends_on_success_within_a_chunk_and_counts() -> None:
    result = run_episode(PointWorld("reach", 50), SteeringAgent("single", noise=0.0, chunk_steps=4), seed=3)
    way = np.abs(np.random.default_rng([3, 5]).uniform(-1, 1, 2)).max()
    assert result.success
    assert result.steps == pytest.approx(way / 0.1, abs=1)
    assert result.decisions == -(-result.steps // 4)
    assert (result.task, result.instruction, result.seed, result.mode) == ("reach", "do reach", 3, "single")
    assert result.seconds > 0
    assert result.decision_ms > 0


def test_episode_ends_at_the_limit_even_within_a_chunk() -> None:
    world = PointWorld("reach", 50)
    result = run_episode(world, SteeringAgent("single", noise=0.0, chunk_steps=4), seed=3, max_steps=3)
    assert (result.success, result.steps, result.decisions, world.renderings) == (False, 3, 1, 1)


def test_world_renders_for_decisions_only_unless_watched() -> None:
    world = PointWorld("reach", 50)
    result = run_episode(world, SteeringAgent("single", noise=8.0), seed=0)
    assert world.renderings == result.decisions
    recorder = TraceRecorder(POINT, frame_every=2)
    watched = run_episode(world, SteeringAgent("single", noise=8.0), seed=0, observer=recorder)
    assert timeless(watched) == timeless(result)
    trace = recorder.trace(watched)
    assert trace.frame_steps.tolist() == [*range(0, result.steps, 2), result.steps]
    assert trace.frames[:, 0, 0, 0, 0].tolist() == trace.frame_steps.tolist()
    assert len(trace.decisions) == result.decisions
    assert trace.cameras == ("top", "side")


def test_same_seed_same_episode_whatever_came_before() -> None:
    world, agent = PointWorld("reach", 40), SteeringAgent("single", noise=6.0)
    first = run_episode(world, agent, seed=1)
    run_episode(world, agent, seed=2)
    assert timeless(run_episode(world, agent, seed=1)) == timeless(first)


def test_gates_and_simulations_are_counted_and_words_are_passed_on() -> None:
    result = run_episode(PointWorld("reach", 9), SteeringAgent("full", noise=30.0), seed=0, instruction="touch it")
    assert (result.decisions, result.gates_passed, result.simulated, result.revised) == (3, 1, 2, 0)
    assert result.instruction == "touch it"


class BrokenAgent(SteeringAgent):
    def __init__(self, actions: np.ndarray) -> None:
        super().__init__("single", noise=0.0)
        self._actions = actions

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return replace(decision, chunk=replace(decision.chunk, actions=self._actions))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((0, 2), np.float32), r"shape \(0, 2\), expected \(steps >= 1, 2\)"),
        (np.zeros((4, 3), np.float32), r"shape \(4, 3\)"),
        (np.full((1, 2), np.nan, np.float32), "not finite"),
    ],
)
def test_a_chunk_that_no_robot_can_execute_is_refused(actions: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        run_episode(PointWorld("reach", 9), BrokenAgent(actions), seed=0)


def test_limits_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        run_episode(PointWorld("reach", 9), SteeringAgent("single", noise=0.0), seed=0, max_steps=0)
    with pytest.raises(ValueError, match="got -1"):
        TraceRecorder(POINT, frame_every=-1)
