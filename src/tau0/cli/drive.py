"""`tau0 drive`: the robot's side, with a simulated robot: a client of `tau0 serve` controls a world end to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import tyro
from rich.console import Console
from rich.table import Table

from tau0.cli.arguments import EXECUTORS, MODES, UsageError, at_least, check_guidance, check_planning, choose, choose_seeds, choose_tasks
from tau0.cli.serve import TOKEN_VARIABLE
from tau0.cli.shipped import SHIPPED, find_checkpoint

if TYPE_CHECKING:
    from tau0.serve.client import Client
    from tau0.serve.link import Link
    from tau0.serve.robot import Drive as Course
    from tau0.worlds.protocol import World

_ENDS_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Drive a simulated robot through a server, with the loop that a real one has: link, executor, safety filter.

    Without --server one is started on this machine and ended with the last episode. The token, where one is needed, is in TAU0_TOKEN.

    Attributes:
        server: Address of a running `tau0 serve`, such as ws://robot-server:8000.
        checkpoint: What a server that is started here serves: a folder, or the word shipped.
        suite: A suite of tasks, as in tau0 evaluate. Ignored when tasks are given.
        tasks: Tasks, such as reach-v3 push-v3.
        episodes_per_task: Initial states for each task.
        first_seed: Initial states are those of this seed and the following ones.
        mode: single, rcs or full, and the others of tau0 evaluate.
        candidates: Chunks drawn at each decision.
        budget_ms: Time of one decision. No limit unless given.
        guidance: How strongly rtc pulls a chunk toward what is executed; the published 5 unless given.
        max_steps: Control steps after which an episode has failed, those in which the robot held not counted.
        executor: What becomes of chunks that come late: naive waits for them, async goes on meanwhile, rtc has them continue what is
            executed, ensemble averages.
        real_time: The robot does not wait: it gets a command at its control rate, whatever the server does. The table counts control
            steps that were late, because the simulation's own pictures took longer than a step.
        instruction: Your own words for what to do, instead of the tasks' own.
    """

    server: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    checkpoint: str = SHIPPED
    suite: str = "demo"
    tasks: tuple[str, ...] = ()
    episodes_per_task: int = 1
    first_seed: int = 0
    mode: str = "full"
    candidates: int = 8
    budget_ms: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    max_steps: int = 300
    executor: str = "naive"
    real_time: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    instruction: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None

    stopped: ClassVar[str] = "Stopped. The robot has been let go of."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Drives all episodes and prints a table."""
        mode, _ = choose("mode", self.mode, MODES), choose("executor", self.executor, EXECUTORS)
        tasks = choose_tasks(self.suite, self.tasks)
        seeds = choose_seeds(self.first_seed, self.episodes_per_task)
        at_least(1, candidates=self.candidates, max_steps=self.max_steps)
        check_planning(None, self.budget_ms)
        check_guidance(self.guidance)
        if self.guidance is not None and self.executor != "rtc":
            raise UsageError(f"--guidance is for --executor rtc, this one is {self.executor}")

        from tau0.serve.client import Client
        from tau0.serve.protocol import PlannerChoice
        from tau0.worlds.registry import embodiment_of

        robot = embodiment_of(tasks)
        planner = PlannerChoice(mode=mode, candidates=self.candidates, budget_ms=self.budget_ms, guidance=self.guidance)
        title, caption = f"driven through the server: {mode}, {self.executor}", "ms: from question to answer, median"
        table = Table(title=title, caption=caption, pad_edge=False, collapse_padding=True)
        for name in ("task and seed", "solved", "steps", "held", "late", "chunks", "ms", "safety"):
            table.add_column(name, no_wrap=name != "safety")
        with self._server() as address:
            client = Client(address, os.environ.get(TOKEN_VARIABLE) or None, planner=planner, embodiment=robot, timeout_s=60.0)
            console.print(f"{client.metadata.checkpoint} at {address} drives {robot.name}", markup=False, highlight=False, soft_wrap=True)
            solved = self._episodes(client, tasks, seeds, table)
        console.print(table)
        console.print(f"{solved} of {len(tasks) * len(seeds)} episodes solved", highlight=False)
        return 0

    def _episodes(self, client: Client, tasks: tuple[str, ...], seeds: range, table: Table) -> int:
        """How many were solved. Adds a row for each."""
        from tau0.serve.link import Link
        from tau0.worlds.registry import make_world

        records, solved, link = client.metadata.records, 0, Link(client)
        try:
            for task in tasks:
                world = make_world(task, self.max_steps)
                try:
                    for seed in seeds:
                        course = self._episode(world, client, link, seed, records)
                        solved += course.success
                        trips = ", ".join(f"{kind} {count}" for kind, count in course.trips.items()) or "-"
                        numbers = (course.steps, course.held, course.late, course.decisions, f"{course.decision_ms:.0f}")
                        table.add_row(f"{task} {seed}", "yes" if course.success else "no", *map(str, numbers), trips)
                finally:
                    world.close()
        finally:
            link.close()
        return solved

    def _episode(self, world: World, client: Client, link: Link, seed: int, records: bool) -> Course:
        from tau0.plan.executor import ChunkExecutor, ExecutorConfig
        from tau0.serve.robot import ControlLoop
        from tau0.serve.safety import SafetyFilter

        metadata = client.metadata
        robot = metadata.embodiment
        config = ExecutorConfig(kind=cast(Any, self.executor), action_horizon=robot.action_horizon, query_every=metadata.execute_steps)
        guard = SafetyFilter(robot, metadata.safety)
        world.reset(seed, self.instruction)
        if self.real_time:
            world.observe()  # a renderer takes its time for the first picture
        link.reset(seed)
        executor = ChunkExecutor(config, robot.action.dim)
        loop = ControlLoop(world, link, executor, guard, robot.control_hz, waits=not self.real_time, records=records)
        course = loop.run(self.max_steps)
        link.reset(seed, "success" if course.success else "failure")
        return course

    @contextmanager
    def _server(self) -> Iterator[str]:
        """The address of the server: the one that was named, or one of our own, which ends with the block."""
        if self.server is not None:
            yield self.server
            return
        folder = find_checkpoint(self.checkpoint)
        command = [sys.executable, "-m", "tau0", "serve", str(folder), "--port", "0", "--mode", self.mode]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " at ws" not in line:
                raise UsageError(f"the server did not start. This says why: tau0 serve {self.checkpoint} --port 0 --mode {self.mode}")
            yield line.rsplit(" at ", 1)[1].strip()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
