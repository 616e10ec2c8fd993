"""`tau0 realtime`: closed loop in physics that does not wait for late answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import tyro
from rich.console import Console

from tau0.cli.arguments import EXECUTORS, MODES, at_least, check_delays, choose, choose_seeds, choose_tasks
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_file
from tau0.cli.shipped import find_checkpoint

if TYPE_CHECKING:
    from tau0.checkpoint import Checkpoint
    from tau0.evaluate.records import EpisodeRecord


@dataclass(frozen=True, kw_only=True)
class Realtime:
    """Measure success and jerk where the robot's answers are late and the world goes on.

    Every executor meets the same initial states and the same noise at every delay, behind the robot's safety limits. Ctrl-C keeps finished
    episodes, and the same command goes on.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        suite: See `tau0 evaluate`. Ignored when tasks are given.
        tasks: Such as reach-v3 push-v3.
        episodes: Initial states for each task.
        delay_ms: From observation to answer, each of these. The model's own time is not added, so that no result depends on the machine.
        executors: naive (waits for the answer), async (goes on with the last plan), rtc (the same, and the next plan continues it),
            ensemble (asks all the time and averages all plans).
        rate_hz: Control steps a second; the robot's own number unless given. A plan lasts its steps divided by this.
        mode: How a plan is chosen, see `tau0 evaluate`.
        candidates: Plans drawn at each decision, in all modes but single.
        guidance: How strongly rtc pulls a plan toward the last one; the published 5 unless given. Others are called rtc@0.5 in results.
        query_every: Steps of a plan executed before the next one is asked for; the checkpoint's own number unless given.
        workers: Processes, each with one thread.
        max_steps: Control steps after which an episode has failed.
        first_seed: Initial states are those of this seed and the following ones.
        out: Results, one JSON line an episode. A file that holds some already is completed.
        markdown: Print the table for a document.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    suite: str = "demo"
    tasks: tuple[str, ...] = ()
    episodes: int = 20
    delay_ms: tuple[float, ...] = (100.0, 200.0, 400.0)
    executors: tuple[str, ...] = EXECUTORS[:3]
    rate_hz: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    mode: str = "single"
    candidates: int = 8
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    query_every: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    workers: int = 2
    max_steps: int = 300
    first_seed: int = 0
    out: Path = Path("runs/realtime.jsonl")
    markdown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    stopped: ClassVar[str] = "Stopped. Finished episodes are kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Evaluates what is missing in `out`, and prints the table."""
        from tau0.checkpoint import load
        from tau0.evaluate.delay_table import delay_markdown, delay_table, summarize_delays
        from tau0.evaluate.runner import episodes_of, evaluate
        from tau0.worlds.registry import embodiment_of, make_world
        from tau0.worlds.rendering import choose_backend

        tasks, seeds = choose_tasks(self.suite, self.tasks), choose_seeds(self.first_seed, self.episodes)
        choose("mode", self.mode, MODES)
        at_least(0, guidance=self.guidance)
        at_least(1, candidates=self.candidates, workers=self.workers, max_steps=self.max_steps, query_every=self.query_every)
        check_delays(self.delay_ms, self.executors, self.rate_hz)
        folder = find_checkpoint(self.checkpoint)
        writable_file(self.out)
        checkpoint = load(folder)
        checkpoint.config.embodiment.check(embodiment_of(tasks))
        sources = self._sources(folder, checkpoint)
        choose_backend()
        with Bars(console) as bars:
            episodes = episodes_of(tasks, seeds)
            bars.start("realtime", f"{len(episodes) * len(sources)} episodes, {self.workers} processes")

            def show(record: EpisodeRecord, done: int, total: int) -> None:
                bars.show("realtime", done / total, f"{done}/{total}, {record.result.task} {record.result.mode}")

            records = evaluate(episodes, sources, make_world, self.max_steps, self.out, self.workers, show)
        summaries = summarize_delays(records)
        if self.markdown:
            console.print(delay_markdown(summaries), markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(delay_table(summaries))
        bars.say(f"{len(records)} episodes in {self.out}")
        return 0

    def _sources(self, folder: Path, checkpoint: Checkpoint) -> list[Any]:
        """The same agent behind every executor at every delay."""
        from tau0.evaluate.delayed import Delay, DelayedSource
        from tau0.plan.agent import AS_CALIBRATED
        from tau0.plan.executor import ExecutorConfig
        from tau0.plan.spec import AgentSpec
        from tau0.worlds.registry import limits_of

        config = checkpoint.config
        robot, rate = config.embodiment, config.embodiment.control_hz if self.rate_hz is None else self.rate_hz
        spec = AgentSpec(checkpoint=folder, mode=cast(Any, self.mode), num_candidates=self.candidates)
        spec.check(checkpoint)
        guided = spec if self.guidance is None else replace(spec, search=replace(AS_CALIBRATED, guidance=self.guidance))
        rtc = "rtc" if self.guidance is None else f"rtc@{self.guidance:g}"
        usual = limits_of(robot)
        limits = config.safety or usual
        guard = partial(make_guard, limits=limits)
        query_every = self.query_every or min(config.sampling.execute_steps, robot.action_horizon)
        return [
            DelayedSource(
                agent=guided if name == "rtc" else spec,
                delay=Delay(
                    delay_ms=late,
                    rate_hz=rate,
                    executor=ExecutorConfig(kind=cast(Any, name), action_horizon=robot.action_horizon, query_every=query_every),
                ),
                make_guard=guard,
                name=rtc if name == "rtc" else name,
                own_limits=None if limits == usual else limits,
            )
            for late in self.delay_ms
            for name in self.executors
        ]


def make_guard(embodiment: Any, rate_hz: float, limits: Any) -> Any:
    """The safety filter of a robot with so many control steps a second."""
    from tau0.serve.safety import SafetyFilter

    return SafetyFilter(embodiment, limits, rate_hz)
