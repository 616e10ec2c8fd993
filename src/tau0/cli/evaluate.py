"""`tau0 evaluate`: closed loop over a suite, with the same seeds for every mode."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import tyro
from rich.console import Console

from tau0.cli.arguments import (
    FRAME_EVERY,
    ORACLES,
    USUAL_MODES,
    at_least,
    check_planning,
    check_search,
    choose,
    choose_modes,
    choose_seeds,
    choose_tasks,
)
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_file, writable_folder
from tau0.cli.report import keep_for_report
from tau0.cli.shipped import find_checkpoint

if TYPE_CHECKING:
    from tau0.evaluate.oracle import RehearsalSpec
    from tau0.evaluate.records import EpisodeRecord
    from tau0.evaluate.runner import Episode
    from tau0.plan.spec import AgentSpec

INSTRUCTIONS = ("training", "held-out")
STILL_BELOW = 0.1
"""As the planner has it, so that help needs no torch; a test keeps them equal."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure how often a checkpoint solves its tasks, from initial states that it was not trained on.

    Every mode meets the same initial states and the same noise. Ctrl-C keeps finished episodes, and the same command goes on. MT50 as
    others report it: --suite mt50 --episodes 10 --max-steps 500, which prints the four groups of difficulty and their mean as well.
    `tau0 evaluate simulator CHECKPOINT` measures the simulator instead; `tau0 evaluate simulator --help` tells how.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        suite: demo (five tasks), mt50 (all fifty; mt50-easy, -medium, -hard, -very-hard are its groups), ml45-train, ml45-test, or
            two-arm. Ignored when tasks are given.
        tasks: Such as reach-v3 push-v3.
        episodes: Initial states for each task.
        modes: single (the first plan drawn), random, medoid (the one in the middle), rcs (the most consistent), progress (the one that
            promises most when simulated), unrevised (rcs, and simulation where unsure), full (the same, and a revision), oracle (the best
            when really tried), oracle-gated (the best of the imagined, where rcs is unsure).
        candidates: Plans drawn at each decision, in all modes but single.
        workers: Processes, each with one thread.
        max_steps: Control steps after which an episode has failed.
        out: Results, one JSON line an episode. A file that holds some already is completed.
        instructions: training (the wording that was trained on) or held-out (wordings never seen in training).
        first_seed: Initial states are those of this seed and the following ones.
        gate_threshold: Replaces the checkpoint's: -inf never simulates, inf always does.
        budget_ms: Time for one decision: what would not end in time is left out. No limit unless given.
        noise_scale: Of the noise that all plans but the first start from; above 1 they differ more.
        score_sigmas: Noise levels of the consistency score, instead of the checkpoint's.
        score_noises: Noises per level of the score, instead of the checkpoint's.
        score_error: absolute (as published) or relative (to how much the plan moves the robot), instead of the checkpoint's.
        still_below: A plan that moves less than this share of the median plan's motion cannot win; 0 lets it.
        futures: Most plans of a round that are simulated, the most consistent ones; all unless given.
        execute_steps: Most steps of a plan that are executed before the next is made, instead of the checkpoint's.
        outcomes: Also try every plan in the world's physics before one is executed, and write down what it leads to (slow).
        loss_split: Say where success is lost: to the plans drawn, to choosing by consistency, to the simulator; adds the modes it needs.
        traces: Where every decision of every episode goes; a folder named after OUT unless given.
        video: Keep real and imagined video in the traces as well, for `tau0 report` (slower, about 3 MB an episode).
        video_seeds: With --video: of the first so many initial states of each task only.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    suite: str = "demo"
    tasks: tuple[str, ...] = ()
    episodes: int = 40
    modes: tuple[str, ...] = USUAL_MODES
    candidates: int = 8
    workers: int = 2
    max_steps: int = 300
    out: Path = Path("runs/evaluation.jsonl")
    instructions: str = "training"
    first_seed: int = 0
    gate_threshold: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    budget_ms: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    noise_scale: float = 1.0
    score_sigmas: tuple[float, ...] = ()
    score_noises: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    score_error: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    still_below: float = STILL_BELOW
    futures: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    execute_steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    outcomes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    loss_split: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    traces: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    video: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    video_seeds: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None

    stopped: ClassVar[str] = "Stopped. Finished episodes are kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Evaluates what is missing in `out`, and prints the table."""
        from tau0.evaluate.agreement import agreement_table, agreements
        from tau0.evaluate.groups import group_table
        from tau0.evaluate.loss_split import loss_table, split_loss
        from tau0.evaluate.table import success_table, summarize
        from tau0.worlds.registry import GROUPS

        modes = choose_modes(self._wanted_modes())
        tasks = choose_tasks(self.suite, self.tasks)
        seeds = choose_seeds(self.first_seed, self.episodes)
        wording = choose("instructions", self.instructions, INSTRUCTIONS)
        at_least(1, candidates=self.candidates, futures=self.futures, workers=self.workers, max_steps=self.max_steps)
        at_least(1, video_seeds=self.video_seeds, execute_steps=self.execute_steps)
        check_planning(self.gate_threshold, self.budget_ms)
        check_search(self.noise_scale, self.score_sigmas, self.score_noises, self.score_error, self.still_below)
        folder = find_checkpoint(self.checkpoint)
        writable_file(self.out)
        traces = self.out.with_name(f"{self.out.stem}-traces") if self.traces is None else self.traces
        writable_folder(traces)
        loop = ClosedLoop(
            checkpoint=folder,
            modes=modes,
            candidates=self.candidates,
            workers=self.workers,
            max_steps=self.max_steps,
            gate_threshold=self.gate_threshold,
            budget_ms=self.budget_ms,
            traces=traces,
            has_video=self.video,
            tries_all=self.outcomes,
            noise_scale=self.noise_scale,
            score_sigmas=self.score_sigmas,
            score_noises=self.score_noises,
            score_error=self.score_error,
            still_below=self.still_below,
            futures=self.futures,
            execute_steps=self.execute_steps,
        )
        episodes = list_episodes(tasks, seeds, wording)
        with Bars(console) as bars:
            for said in self._lacking(episodes, modes, traces):
                bars.say(said)
            records = self._records(loop, episodes, bars)
        keep_for_report(folder, traces)
        summaries = summarize(records)
        console.print(success_table(summaries, f"{self.checkpoint}, {wording} instructions, seeds {seeds[0]} to {seeds[-1]}"))
        if (by_group := group_table(summaries, GROUPS, "Meta-World MT50 by difficulty")) is not None:
            console.print(by_group)
        if self.loss_split:
            console.print(loss_table(split_loss(records)))
        if self.outcomes or set(modes) & set(ORACLES):
            console.print(agreement_table(agreements(traces, records)))
        bars.say(f"{len(records)} episodes in {self.out}, their decisions in {traces}")
        return 0

    def _lacking(self, episodes: Sequence[Episode], modes: Sequence[str], traces: Path) -> list[str]:
        """Sentences about finished episodes that were recorded without what is asked for now."""
        from tau0.evaluate.kept import finished_traces, num_without
        from tau0.evaluate.report_words import plural
        from tau0.evaluate.trace import has_outcomes, has_video
        from tau0.evaluate.workers import Recording

        found = finished_traces(self.out, episodes, modes, Recording(folder=traces))
        last = self.first_seed + (self.episodes if self.video_seeds is None else self.video_seeds)
        counts = {
            "outcomes": num_without([folder for _, folder in found], has_outcomes) if self.outcomes else 0,
            "video": num_without([folder for one, folder in found if one.seed < last], has_video) if self.video else 0,
        }
        return [
            f"{plural(count, 'finished episode')} of {self.out} recorded without {what}, not run again: to have {what}, use another --out"
            for what, count in counts.items()
            if count
        ]

    def _records(self, loop: ClosedLoop, episodes: Sequence[Episode], bars: Bars) -> list[EpisodeRecord]:
        """All episodes, those with video first where not all are to have it."""
        if not self.video or self.video_seeds is None:
            return loop.run(episodes, self.out, bars)
        loop.run([one for one in episodes if one.seed < self.first_seed + self.video_seeds], self.out, bars, "with video")
        return replace(loop, has_video=False).run(episodes, self.out, bars)

    def _wanted_modes(self) -> tuple[str, ...]:
        """Those asked for, and those that the split of the loss is made of."""
        from tau0.evaluate.loss_split import NEEDED

        return tuple(dict.fromkeys((*self.modes, *NEEDED))) if self.loss_split else self.modes


def list_episodes(tasks: Sequence[str], seeds: Sequence[int], wording: str) -> list[Episode]:
    """Every task with every seed. Held-out wordings take turns."""
    from tau0.evaluate.workers import Episode
    from tau0.worlds.instructions import held_out_instructions

    if wording == "training":
        return [Episode(task=task, seed=seed) for task in tasks for seed in seeds]
    words = {task: held_out_instructions(task) for task in tasks}
    return [Episode(task=task, seed=seed, instruction=words[task][seed % len(words[task])]) for task in tasks for seed in seeds]


@dataclass(frozen=True, kw_only=True)
class ClosedLoop:
    """How episodes are run: the settings that `evaluate`, `train` and `reproduce` share. Named as in `Evaluate`."""

    checkpoint: Path
    modes: tuple[str, ...]
    candidates: int
    workers: int
    max_steps: int
    gate_threshold: float | None = None
    budget_ms: float | None = None
    traces: Path | None = None
    has_video: bool = False
    tries_all: bool = False
    noise_scale: float = 1.0
    score_sigmas: tuple[float, ...] = ()
    score_noises: int | None = None
    score_error: str | None = None
    still_below: float = STILL_BELOW
    futures: int | None = None
    execute_steps: int | None = None

    def run(self, episodes: Sequence[Episode], out: Path, bars: Bars, stage: str = "evaluate") -> list[EpisodeRecord]:
        """Runs what `out` lacks, under a bar. Returns old and new records.

        Raises:
            CheckpointError: The folder is not a whole checkpoint for these modes.
            ContractError: It was trained for another robot.
            RecordsError, EvaluationError: See `tau0.evaluate.runner.evaluate`.
        """
        from tau0.evaluate.runner import evaluate
        from tau0.evaluate.workers import Recording
        from tau0.worlds.registry import make_world

        for note in self._check({episode.task for episode in episodes}):
            bars.say(f"{note}, or give --gate-threshold")
        specs: list[Any] = [self.spec(mode) for mode in self.modes]
        recording = None if self.traces is None else Recording(folder=self.traces, frame_every=FRAME_EVERY if self.has_video else 0)
        bars.start(stage, f"{len(episodes) * len(specs)} episodes, {self.workers} processes")
        solved = finished = 0

        def show(record: EpisodeRecord, done: int, total: int) -> None:
            nonlocal solved, finished
            solved, finished = solved + record.result.success, finished + 1
            bars.show(stage, done / total, f"{done}/{total}, {solved}/{finished} solved, {record.result.task} {record.result.mode}")

        return evaluate(episodes, specs, make_world, self.max_steps, out, self.workers, show, recording)

    def spec(self, mode: str) -> AgentSpec | RehearsalSpec:
        """How a worker makes the agent of one mode."""
        from tau0.evaluate.oracle import RehearsalSpec, oracle_spec
        from tau0.plan.agent import Search
        from tau0.plan.spec import AgentSpec

        spec = AgentSpec(
            checkpoint=self.checkpoint,
            mode=cast(Any, "single" if mode in ORACLES else mode),
            num_candidates=self.candidates,
            record_frames=self.has_video,
            gate_threshold=self.gate_threshold,
            budget_ms=self.budget_ms,
            search=Search(
                noise_scale=self.noise_scale,
                score_sigmas=self.score_sigmas or None,
                score_noises=self.score_noises,
                score_error=cast(Any, self.score_error),
                still_below=self.still_below,
                num_futures=self.futures,
                execute_steps=self.execute_steps,
            ),
        )
        if mode in ORACLES:
            return oracle_spec(mode, spec)
        return RehearsalSpec(agent=spec, mode=mode) if self.tries_all else spec

    def _check(self, tasks: Collection[str]) -> list[str]:
        """Meets every error here that all workers would otherwise meet. Returns what should be known of the modes."""
        from tau0.checkpoint import load
        from tau0.worlds.registry import embodiment_of
        from tau0.worlds.rendering import choose_backend

        checkpoint = load(self.checkpoint)
        checkpoint.config.embodiment.check(embodiment_of(tasks))
        specs = [self.spec(mode) for mode in self.modes]
        for spec in specs:
            spec.check(checkpoint)
        choose_backend()
        return list(dict.fromkeys(note for spec in specs if (note := spec.note(checkpoint)) is not None))
