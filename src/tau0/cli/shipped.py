"""The checkpoint that comes with the package, and what it is expected to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tau0.cli.arguments import UsageError

if TYPE_CHECKING:
    from tau0.checkpoint import CheckpointConfig
    from tau0.evaluate.records import EpisodeRecord

SHIPPED = "shipped"
SCORES = "scores"
Scores = Mapping[str, Mapping[str, tuple[int, int]]]
"""Mode to task to (successes, trials)."""


def shipped_checkpoint() -> Path:
    """The folder of the shipped checkpoint.

    Raises:
        UsageError: This copy of the package has none; the message says how to train one.
    """
    folder = Path(str(files("tau0"))) / "checkpoints" / "nano-metaworld"
    if not (folder / "config.json").is_file():
        raise UsageError(
            "this copy of tau0 has no shipped checkpoint. Train one with: tau0 reproduce (about an hour), "
            "then use it: tau0 demo --checkpoint runs/reproduce/train/checkpoint"
        )
    return folder


def find_checkpoint(name: str) -> Path:
    """The folder called `name`, a run's checkpoint where `name` is a run, or the shipped one.

    Raises:
        UsageError: There is no such checkpoint.
    """
    if name == SHIPPED:
        return shipped_checkpoint()
    for folder in (Path(name), Path(name) / "checkpoint"):
        if (folder / "config.json").is_file():
            return folder
    raise UsageError(f"{name} is not a checkpoint: it has no config.json. Give a folder that `tau0 train` wrote, or {SHIPPED!r}")


def named_folder(path: Path) -> Path:
    """`path`; where it is the word shipped and nothing of that name is here, the shipped checkpoint. Raises as `shipped_checkpoint`."""
    return shipped_checkpoint() if str(path) == SHIPPED and not path.exists() else path


def count_scores(records: Sequence[EpisodeRecord]) -> dict[str, dict[str, tuple[int, int]]]:
    """Successes and trials by mode and task."""
    scores: dict[str, dict[str, tuple[int, int]]] = {}
    for result in (record.result for record in records):
        of_mode = scores.setdefault(result.mode, {})
        successes, trials = of_mode.get(result.task, (0, 0))
        of_mode[result.task] = (successes + result.success, trials + 1)
    return scores


def expected_scores(config: CheckpointConfig) -> Scores:
    """What was measured when the checkpoint was made: `provenance["scores"]`. Empty where it says nothing."""
    raw = json.loads(config.provenance.get(SCORES, "{}"))
    return {mode: {task: (int(pair[0]), int(pair[1])) for task, pair in tasks.items()} for mode, tasks in raw.items()}
