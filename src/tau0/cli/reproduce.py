"""`tau0 reproduce`: the demo model from nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import Console
from rich.table import Table

from tau0.cli.arguments import USUAL_MODES, UsageError, at_least, choose_tasks
from tau0.cli.bars import Bars
from tau0.cli.collect import collect_with_bar
from tau0.cli.evaluate import ClosedLoop, list_episodes
from tau0.cli.folders import writable_folder
from tau0.cli.shipped import Scores, count_scores, expected_scores, shipped_checkpoint
from tau0.cli.train import Train

if TYPE_CHECKING:
    from tau0.evaluate.records import EpisodeRecord


DEMONSTRATIONS_OF = {"reach-v3": 400, "push-v3": 200, "pick-place-v3": 200}
"""Goals vary most where the eye decides; button and drawer are solved from eighty."""


@dataclass(frozen=True, kw_only=True)
class ReproduceBudget:
    """What fits into 75 minutes on two cores.

    Attributes:
        preset: Size of the model.
        demonstrations: For each task.
        demonstrations_of: Instead, for some of the tasks.
        failures: For each task.
        branch_groups: For each task.
        autoencoder_minutes: Of training the autoencoder.
        minutes: Of training the world model.
        candidates: Plans at each decision.
        gate_share: Share of decisions that pass the gate.
        max_steps: Control steps of an episode of the evaluation.
    """

    preset: str = "nano"
    demonstrations: int = 80
    demonstrations_of: Mapping[str, int] = field(default_factory=lambda: dict(DEMONSTRATIONS_OF))
    failures: int = 40
    branch_groups: int = 50
    autoencoder_minutes: float = 6.0
    minutes: float = 40.0
    candidates: int = 8
    gate_share: float = 0.5
    max_steps: int = 300


BUDGET = ReproduceBudget()


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Collect, train and evaluate the demo model from nothing, on two CPU cores in an hour and a quarter.

    Ends with a table beside the shipped checkpoint's. Every stage that is finished is skipped; Ctrl-C keeps what was finished, and the
    same command goes on.

    Attributes:
        out: Folder of the run: train/, evaluation.jsonl.
        data: Folder of the dataset.
        evaluate_episodes: Initial states a task of the evaluation, each in three modes.
        workers: Processes, each with one thread.
        seed: Of the data and of the training.
    """

    out: Path = Path("runs/reproduce")
    data: Path = Path("data/demo")
    evaluate_episodes: int = 20
    workers: int = 2
    seed: int = 0

    stopped: ClassVar[str] = "Stopped. What was finished is kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """All three stages, then the table."""
        return self.reproduce(BUDGET, choose_tasks("demo", ()), console)

    def reproduce(self, budget: ReproduceBudget, tasks: tuple[str, ...], console: Console) -> int:
        """All three stages with this budget and these tasks."""
        at_least(1, evaluate_episodes=self.evaluate_episodes, workers=self.workers)
        writable_folder(self.out)
        began = time.monotonic()
        with Bars(console) as bars:
            self._collect(budget, tasks, bars)
            folder = self._train(budget, bars)
            loop = ClosedLoop(
                checkpoint=folder, modes=USUAL_MODES, candidates=budget.candidates, workers=self.workers, max_steps=budget.max_steps
            )
            episodes = list_episodes(tasks, range(self.evaluate_episodes), "training")
            records = loop.run(episodes, self.out / "evaluation.jsonl", bars)
        _show(records, console)
        console.print(f"{folder}: ready after {(time.monotonic() - began) / 60:.0f} minutes", highlight=False, soft_wrap=True)
        return 0

    def _collect(self, budget: ReproduceBudget, tasks: tuple[str, ...], bars: Bars) -> None:
        from tau0.collect.run import CollectConfig

        config = CollectConfig(
            root=self.data,
            tasks=tasks,
            demonstrations=budget.demonstrations,
            demonstrations_of={task: count for task, count in budget.demonstrations_of.items() if task in tasks},
            failures=budget.failures,
            branch_groups=budget.branch_groups,
            seed=self.seed,
            workers=self.workers,
        )
        collect_with_bar(config, bars)

    def _train(self, budget: ReproduceBudget, bars: Bars) -> Path:
        """The folder of the trained checkpoint; a checkpoint with a gate is finished."""
        from tau0.checkpoint import CONFIG_NAME, config_from_json

        out = self.out / "train"
        config = out / "checkpoint" / CONFIG_NAME
        if config.is_file() and config_from_json(config.read_bytes(), str(config)).gate is not None:
            bars.say(f"{config.parent}: was trained already")
            return config.parent
        command = Train(
            preset=budget.preset,
            data=self.data,
            out=out,
            minutes=budget.minutes,
            autoencoder_minutes=budget.autoencoder_minutes,
            workers=self.workers,
            seed=self.seed,
            candidates=budget.candidates,
            gate_share=budget.gate_share,
        )
        return command.train(bars)


def _show(records: list[EpisodeRecord], console: Console) -> None:
    """The evaluation's own table, then the comparison with the shipped checkpoint."""
    from tau0.checkpoint import CONFIG_NAME, config_from_json
    from tau0.evaluate.table import success_table, summarize

    console.print(success_table(summarize(records), "trained here"))
    try:
        path = shipped_checkpoint() / CONFIG_NAME
    except UsageError:
        console.print("This copy of tau0 has no shipped checkpoint to compare with.")
        return
    expected = expected_scores(config_from_json(path.read_bytes(), str(path)))
    if not expected:
        console.print("The shipped checkpoint does not say what it scored.")
        return
    console.print(comparison_table(count_scores(records), expected))


def comparison_table(here: Scores, shipped: Scores) -> Table:
    """Success by mode and task: trained here, shipped."""
    table = Table(title="trained here beside the shipped checkpoint", caption="Intervals are Wilson's, 95%.")
    for name in ("mode", "task", "here", "shipped"):
        table.add_column(name, justify="right" if name in ("here", "shipped") else "left")
    for mode in (mode for mode in USUAL_MODES if mode in here or mode in shipped):
        ours, theirs = here.get(mode, {}), shipped.get(mode, {})
        for index, task in enumerate(dict.fromkeys([*ours, *theirs])):
            table.add_row(mode if index == 0 else "", task, _rate(ours.get(task)), _rate(theirs.get(task)))
        table.add_row("", "all", _rate(_total(ours.values())), _rate(_total(theirs.values())), end_section=True)
    return table


def _total(pairs: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    found = list(pairs)
    return (sum(s for s, _ in found), sum(n for _, n in found)) if found else None


def _rate(pair: tuple[int, int] | None) -> str:
    from tau0.evaluate.statistics import wilson_interval

    if pair is None:
        return "–"
    interval = wilson_interval(*pair)
    return f"{pair[0]}/{pair[1]} {interval.estimate:.0%} [{interval.low:.0%}, {interval.high:.0%}]"
