"""`tau0 collect`: record a dataset from simulated physics."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.console import Console

from tau0.cli.arguments import choose_tasks
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_folder

if TYPE_CHECKING:
    from tau0.collect.run import CollectConfig


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Record demonstrations, failures and branches as a LeRobot v3.0 dataset.

    Ctrl-C keeps what was finished, and the same command goes on.

    Attributes:
        out: Folder of the dataset: a new one, or an unfinished one of the same settings.
        suite: demo (five tasks), mt50 (all fifty; mt50-easy, -medium, -hard, -very-hard are its groups), ml45-train, ml45-test, or
            two-arm. Ignored when tasks are given.
        tasks: Such as reach-v3 push-v3; all of one robot.
        demonstrations: Successful episodes for each task.
        demonstrations_of: Instead, for some of the tasks, such as reach-v3 400 push-v3 200.
        failures: Failed episodes for each task.
        branch_groups: States for each task from which five different chunks are executed.
        seed: Everything random depends on it.
        workers: Processes; each needs a core and some 400 MB.
    """

    out: Path
    suite: str = "demo"
    tasks: tuple[str, ...] = ()
    demonstrations: int = 100
    demonstrations_of: dict[str, int] = field(default_factory=dict[str, int])
    failures: int = 30
    branch_groups: int = 40
    seed: int = 0
    workers: int = 2

    stopped: ClassVar[str] = "Stopped. What was finished is kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Collects, or finishes collecting."""
        from tau0.collect.run import CollectConfig

        config = CollectConfig(
            root=self.out,
            tasks=choose_tasks(self.suite, self.tasks),
            demonstrations=self.demonstrations,
            demonstrations_of=self.demonstrations_of,
            failures=self.failures,
            branch_groups=self.branch_groups,
            seed=self.seed,
            workers=self.workers,
        )
        with Bars(console) as bars:
            collect_with_bar(config, bars)
        return 0


def collect_with_bar(config: CollectConfig, bars: Bars) -> None:
    """Collects under a bar. Raises what `tau0.collect.run.collect` raises."""
    from tau0.collect.run import CollectProgress, collect

    def show(progress: CollectProgress) -> None:
        speed = progress.rows / progress.seconds if progress.seconds > 0 else 0.0
        bars.show("collect", progress.units_done / progress.units, f"{progress.episodes} episodes, {speed:.0f} rows/s")

    writable_folder(config.root)
    bars.start("collect", f"{len(config.tasks)} tasks, {config.workers} processes")
    done = collect(config, show)
    if done.rows:
        bars.say(f"{config.root}: {done.episodes} episodes, {done.rows} rows, in {done.seconds / 60:.1f} minutes")
    else:
        bars.say(f"{config.root}: was complete already")
