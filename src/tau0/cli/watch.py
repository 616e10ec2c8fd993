"""What `tau0 train` shows while it trains: losses, and now and then a few episodes in the world that was recorded."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tau0.cli.arguments import UsageError
from tau0.cli.bars import Bars
from tau0.cli.evaluate import ClosedLoop, list_episodes
from tau0.cli.shipped import count_scores

if TYPE_CHECKING:
    from tau0.data.mixture import MixtureSpec
    from tau0.train.loop import Progress

CLOSED_LOOP_NAME = "closed_loop.jsonl"
MAX_STEPS = 300
_SHORT = {"policy_video": "video", "action": "action", "simulator_video": "future", "progress": "progress"}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A few closed-loop episodes of a checkpoint that is still being trained. It has no gate yet, so the mode is "single"."""

    every_minutes: float
    tasks: tuple[str, ...]
    episodes: int
    workers: int
    out: Path
    bars: Bars

    def __call__(self, folder: Path, minutes: float) -> None:
        """Evaluates, prints one line, appends one to `closed_loop.jsonl`."""
        loop = ClosedLoop(checkpoint=folder, modes=("single",), candidates=1, workers=self.workers, max_steps=MAX_STEPS)
        episodes = list_episodes(self.tasks, range(self.episodes), "training")
        with tempfile.TemporaryDirectory(prefix="tau0-") as scratch:
            records = loop.run(episodes, Path(scratch) / "episodes.jsonl", self.bars, f"at {minutes:.0f} min")
        scores = count_scores(records)["single"]
        line = {"minutes": round(minutes, 2), "single": scores}
        with (self.out / CLOSED_LOOP_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        solved, trials = sum(s for s, _ in scores.values()), sum(n for _, n in scores.values())
        by_task = ", ".join(f"{task} {s}/{n}" for task, (s, n) in scores.items())
        self.bars.say(f"after {minutes:.0f} minutes: {solved} of {trials} episodes solved ({by_task})")


class Watch:
    """Shows training as it goes, and evaluates when an evaluation is due."""

    def __init__(self, bars: Bars, evaluation: Evaluation | None) -> None:
        self._bars, self._evaluation = bars, evaluation
        self._minutes: float = 0.0
        self._evaluated_at: float | None = None

    def on_step(self, progress: Progress) -> None:
        """One step of the world model."""
        losses = ", ".join(f"{_SHORT.get(name, name)} {loss:.3f}" for name, loss in progress.losses.items())
        self._minutes = progress.seconds / 60
        if self._evaluated_at is None:
            self._evaluated_at = self._minutes
        self._bars.show("world model", min(progress.fraction, 1.0), f"step {progress.step}: {losses}")

    def on_checkpoint(self, folder: Path, fraction: float) -> None:
        """A checkpoint that can be evaluated."""
        if self._evaluation is None or self._evaluated_at is None:
            return
        if fraction >= 1 or self._minutes - self._evaluated_at >= self._evaluation.every_minutes:
            self._evaluated_at = self._minutes
            self._evaluation(folder, self._minutes)


def tasks_of_a_world(mixture: MixtureSpec) -> tuple[str, ...]:
    """The tasks in a mixture that the robot it trains can be evaluated on.

    Raises:
        UsageError: The robot is of no world of ours, or nothing was recorded of its tasks.
    """
    from tau0.data.episodes import Dataset
    from tau0.train.ingredients import world_robot
    from tau0.worlds.registry import SUITES, embodiment_of

    robot = world_robot(mixture)
    known = {task for suite in SUITES.values() for task in suite}
    episodes = [episode for source in mixture.sources for episode in Dataset.open(source.dataset).episodes]
    recorded = dict.fromkeys(episode.task for episode in episodes if episode.task in known)
    tasks = tuple(task for task in recorded if embodiment_of([task]) == robot)
    if not tasks:
        raise UsageError("--evaluate-minutes acts in the worlds of `tau0 collect`, with the cameras, rate and tasks that it records there")
    return tasks
