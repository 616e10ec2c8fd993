"""`tau0 demo`: a few episodes with the whole loop, watched live, then a report."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import tyro
from rich.console import Console

from tau0.cli.arguments import FRAME_EVERY, MODES, at_least, check_planning, choose, choose_seeds, choose_tasks
from tau0.cli.folders import writable_folder
from tau0.cli.report import keep_for_report, write_run_report
from tau0.cli.shipped import SHIPPED, find_checkpoint

if TYPE_CHECKING:
    from tau0.contract import Decision, Observation
    from tau0.evaluate.episodes import Agent, EpisodeResult
    from tau0.evaluate.live import DemoDisplay
    from tau0.evaluate.recorder import TraceRecorder


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Watch a robot sample plans, score them, imagine where they lead, revise, and act. Ends with an HTML report.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        suite: demo (five tasks), mt50 (all fifty; mt50-easy, -medium, -hard, -very-hard are its groups), ml45-train, ml45-test, or
            two-arm. Ignored when tasks are given.
        tasks: Such as reach-v3 push-v3.
        episodes_per_task: Initial states for each task.
        mode: single (the first plan drawn), rcs (the most consistent of several) or full (simulate and revise where unsure).
        candidates: Plans drawn at each decision.
        max_steps: Control steps after which an episode has failed.
        first_seed: Initial states are those of this seed and the following ones.
        instruction: Your own words for what to do, instead of the tasks' own.
        gate_threshold: Replaces the checkpoint's: -inf never simulates, inf always does.
        budget_ms: Time for one decision in mode full: what would not end in time is left out. No limit unless given.
        joint: Let the policy denoise video and actions together, so that its own imagination can be seen (slower; modes single and rcs).
        out: Folder of the traces and of the report. Traces of an earlier run in it are replaced.
    """

    checkpoint: str = SHIPPED
    suite: str = "demo"
    tasks: tuple[str, ...] = ()
    episodes_per_task: int = 1
    mode: str = "full"
    candidates: int = 8
    max_steps: int = 300
    first_seed: int = 0
    instruction: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    gate_threshold: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    budget_ms: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    joint: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Path = Path("runs/demo")

    stopped: ClassVar[str] = "Stopped. Finished episodes are kept: tau0 report shows them."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Runs the episodes, then writes the report and prints its path."""
        mode = choose("mode", self.mode, MODES)
        tasks = choose_tasks(self.suite, self.tasks)
        seeds = choose_seeds(self.first_seed, self.episodes_per_task)
        at_least(1, candidates=self.candidates, max_steps=self.max_steps)
        check_planning(self.gate_threshold, self.budget_ms)
        folder = find_checkpoint(self.checkpoint)
        writable_folder(self.out)
        console.print("waking up the robot ...", style="dim")

        from tau0.checkpoint import load
        from tau0.evaluate.live import DemoDisplay
        from tau0.plan.agent import PlanningAgent
        from tau0.plan.gate import other_number
        from tau0.worlds.registry import embodiment_of

        checkpoint = load(folder)
        checkpoint.config.embodiment.check(embodiment_of(tasks))
        agent = PlanningAgent(
            checkpoint,
            cast(Any, mode),
            self.candidates,
            record_frames=True,
            gate_threshold=self.gate_threshold,
            imagines_itself=self.joint,
            budget_ms=self.budget_ms,
        )
        note = other_number(checkpoint.config.gate, cast(Any, mode), self.candidates, self.gate_threshold)
        if note is not None:
            console.print(f"{note}, or give --gate-threshold", markup=False, highlight=False, soft_wrap=True)
        _remove_traces(self.out)
        keep_for_report(folder, self.out)
        with DemoDisplay(console) as display:
            results = [result for task in tasks for result in self._episodes(task, seeds, agent, display)]
        solved = sum(result.success for result in results)
        console.print(f"{solved} of {len(results)} episodes solved. Writing the report ...", highlight=False)
        report = write_run_report(self.out)
        console.print(str(report), markup=False, highlight=False, soft_wrap=True)
        return 0

    def _episodes(self, task: str, seeds: range, agent: Agent, display: DemoDisplay) -> list[EpisodeResult]:
        """All episodes of one task, each with its trace on disk before the next begins."""
        from tau0.evaluate.episodes import run_episode
        from tau0.evaluate.recorder import TraceRecorder
        from tau0.evaluate.trace import write_trace
        from tau0.worlds.instructions import train_instructions
        from tau0.worlds.registry import make_world

        world = make_world(task, self.max_steps)
        results = []
        try:
            for seed in seeds:
                recorder = TraceRecorder(world.embodiment, FRAME_EVERY)
                words = self.instruction or train_instructions(task)[0]
                display.episode_started(task, words, self.max_steps)
                watcher = _Watcher(recorder, display)
                result = run_episode(world, agent, seed, self.instruction, max_steps=self.max_steps, observer=watcher)
                display.episode_finished(result.success, result.steps)
                number = len(list(self.out.glob("episode-*")))
                write_trace(self.out / f"episode-{number:03d}", recorder.trace(result))
                results.append(result)
        finally:
            world.close()
        return results


class _Watcher:
    """Keeps an episode's trace and shows it at the same time."""

    def __init__(self, recorder: TraceRecorder, display: DemoDisplay) -> None:
        self.frame_every = recorder.frame_every
        self._recorder, self._display = recorder, display

    def on_frame(self, observation: Observation) -> None:
        """One frame of video."""
        self._recorder.on_frame(observation)

    def on_decision(self, observation: Observation, decision: Decision) -> None:
        """One decision."""
        self._recorder.on_decision(observation, decision)
        self._display.decision(decision)


def _remove_traces(folder: Path) -> None:
    """Makes room for new traces; touches nothing that is not a trace."""
    for path in folder.glob("episode-*"):
        if (path / "trace.json").is_file():
            shutil.rmtree(path)
