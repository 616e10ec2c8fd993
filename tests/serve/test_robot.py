"""The robot's side: a command in every control step, whatever becomes of the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from quick import SAFETY, QuickAgents
from serving import SINGLE, serving

from tau0.checkpoint import Checkpoint, save
from tau0.contract import Float, Observation
from tau0.data.episodes import Dataset
from tau0.plan.agent import PlanningAgent
from tau0.plan.executor import ChunkExecutor, ExecutorConfig, Kind
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.link import Link
from tau0.serve.protocol import ConnectionLostError
from tau0.serve.robot import ControlLoop
from tau0.serve.safety import SafetyFilter, Verdict
from tiny import EMBODIMENT

RATE_HZ = 25.0


class Arm:
    """Adds up what it was told lately, within a small room. Remembers every command, and when it came."""

    def __init__(self, solved_at: int = 10**9) -> None:
        self.commands: list[Float] = []
        self.times: list[float] = []
        self._solved_at = solved_at

    def state(self) -> Float:
        return np.clip(np.sum([*self.commands[-40:], np.zeros(4)], axis=0), -1, 1).astype(np.float32)

    def observe(self) -> Observation:
        images = {camera.name: np.zeros((32, 32, 3), np.uint8) for camera in EMBODIMENT.cameras}
        return Observation(images=images, state=self.state(), instruction="go on")

    def step(self, action: Float) -> bool:
        self.commands.append(action)
        self.times.append(time.monotonic())
        return len(self.commands) >= self._solved_at

    @property
    def held(self) -> list[bool]:
        """Which commands were to stand still."""
        return [not command[:3].any() for command in self.commands]


def loop(
    arm: Arm,
    link: Link,
    *,
    waits: bool = False,
    records: bool = False,
    patience_s: float = 120.0,
    each_step: Callable[[int, Verdict], None] | None = None,
    kind: Kind = "naive",
) -> ControlLoop:
    executor = ChunkExecutor(ExecutorConfig(kind=kind, action_horizon=EMBODIMENT.action_horizon, query_every=8), 4)
    guard = SafetyFilter(EMBODIMENT, SAFETY, RATE_HZ)
    return ControlLoop(arm, link, executor, guard, RATE_HZ, waits=waits, records=records, patience_s=patience_s, each_step=each_step)


def test_an_episode_whose_time_waits_is_the_agents_own(checkpoint: Checkpoint) -> None:
    with serving(Agents(checkpoint, SINGLE)) as server:
        arm, link = Arm(solved_at=20), Link(Client(server.address))
        result = loop(arm, link, waits=True).run(100)
        link.close()
    assert (result.success, result.steps, result.held, result.decisions, result.reconnections) == (True, 20, 0, 3, 0)
    agent, twin = PlanningAgent(checkpoint, "single", 1), Arm()
    while len(twin.commands) < 20:
        observation = twin.observe()
        for action in agent.decide(Observation(**{**vars(observation), "step": len(twin.commands)})).chunk.actions:
            twin.step(action)
    np.testing.assert_allclose(np.stack(arm.commands), np.stack(twin.commands[:20]), atol=1e-6)


def test_the_loop_keeps_its_rate_while_answers_are_late() -> None:
    with serving(QuickAgents(seconds=0.1)) as server:
        arm, link = Arm(solved_at=60), Link(Client(server.address))
        result = loop(arm, link).run(100)
        link.close()
    assert result.success
    assert result.held > 0
    assert np.diff(arm.times).min() > 0.5 / RATE_HZ


def test_an_answer_is_used_in_the_step_in_which_it_came_and_the_next_question_follows_at_once() -> None:
    agents = QuickAgents()
    with serving(agents) as server:
        arm, link = Arm(), Link(Client(server.address))

        def until_answered(step: int, verdict: Verdict) -> None:  # noqa: ARG001
            wait_until(lambda: len(agents.began) == step + 1 and not link._answers.empty())

        result = loop(arm, link, each_step=until_answered, kind="ensemble").run(6)
        link.close()
    assert agents.began == list(range(result.steps))
    assert (result.held, result.decisions) == (1, result.steps - 1)


def test_an_answer_that_comes_while_sensors_are_read_is_used_in_that_step() -> None:
    class SlowArm(Arm):
        def state(self) -> Float:
            wait_until(lambda: link._asked == 0 or not link._answers.empty())
            return super().state()

    with serving(QuickAgents(seconds=2 / RATE_HZ)) as server:
        link = Link(Client(server.address))
        result = loop(SlowArm(solved_at=1), link).run(10)
        link.close()
    assert (result.steps, result.held, result.late, result.decisions) == (1, 0, 1, 1)


def test_the_emergency_stop_holds_a_moving_robot() -> None:
    """Somebody stops the robots at one control step, and lets them go on 25 later."""
    with serving(QuickAgents()) as server, Client(server.address) as person:
        arm, link = Arm(), Link(Client(server.address))
        stopped_at, resumed_at = 15, 40

        def watch(step: int, verdict: Verdict) -> None:  # noqa: ARG001
            if step == stopped_at:
                person.stop("a hand")
                wait_until(lambda: link.stop == "a hand")
            if step == resumed_at:
                person.resume()
                wait_until(lambda: link.stop is None)

        control = loop(arm, link, each_step=watch)
        result = control.run(40)
        link.close()
    assert "stop" in result.trips
    assert result.trips["stop"] == resumed_at - stopped_at
    held = arm.held
    assert not all(held[:stopped_at])
    assert all(held[stopped_at + 1 : resumed_at])
    assert not all(held[resumed_at:])


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_server_that_never_comes_back_ends_the_episode() -> None:
    with serving(QuickAgents()) as server:
        link = Link(Client(server.address))
        server.drain()
        with pytest.raises(ConnectionLostError, match=r"no server for 0\.3 s"):
            loop(Arm(), link, patience_s=0.3).run(10_000)
        link.close()


def served(folder: Path, port: int, record: Path) -> subprocess.Popen[str]:
    """`tau0 serve` in a process of its own."""
    code = "import sys; from tau0.cli import run; sys.exit(run(sys.argv[1:]))"
    arguments = ["serve", str(folder), "--port", str(port), "--mode", "single", "--record", str(record)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )


def port_of(process: subprocess.Popen[str]) -> int:
    """Where it listens, as soon as it does."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "tiny for tiny at ws://127.0.0.1:" in line
    return int(line.rsplit(":", 1)[1])


def test_the_server_is_killed_while_the_robot_moves(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """kill -9: the robot holds within a chunk, the loop keeps its rate, finds the next server, and goes on."""
    save(checkpoint, tmp_path / "tiny")
    first = served(tmp_path / "tiny", 0, tmp_path / "recorded")
    port = port_of(first)
    second: list[subprocess.Popen[str]] = []
    arm, link = Arm(), Link(Client(f"ws://127.0.0.1:{port}"))
    killed_at: list[int] = []

    def meddle(step: int, verdict: Verdict) -> None:  # noqa: ARG001
        if step == 30:
            first.kill()
            first.wait()
            killed_at.append(len(arm.commands))
        if step == 55:
            second.append(served(tmp_path / "tiny", port, tmp_path / "recorded"))

    try:
        result = loop(arm, link, records=True, each_step=meddle).run(60)
        link.reset(0, "failure")
        link.close()
        second[0].send_signal(signal.SIGTERM)
        assert second[0].wait(60) == 0
    finally:
        for process in (first, *second):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    assert result.reconnections == 1
    assert result.steps - result.held == 60
    held = arm.held[killed_at[0] :]
    assert sum(not still for still in held[:20]) <= 8
    assert all(held[9:20])
    assert not all(held)
    assert "watchdog" in result.trips
    judged = [path for path in (tmp_path / "recorded").glob("run-*/judged") if (path / "meta").exists()]
    assert [episode.success for path in judged for episode in Dataset.open(path).episodes] == [False]
