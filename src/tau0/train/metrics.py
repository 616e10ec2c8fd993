"""Metrics of a run: one JSON line a step, TensorBoard where it is installed, Weights & Biases where it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tau0.train.loop import Progress

BOARD_EVERY = 10
WANDB_ID = "wandb-id"


class MetricsError(RuntimeError):
    """Metrics that cannot be shown where they were asked for; the message says why."""


def scalars(progress: Progress) -> dict[str, float]:
    """What is drawn of a step, by name; numbers that are not finite are left out."""
    named = {f"loss/{name}": value for name, value in progress.losses.items()}
    named |= {f"loss_by_source/{name}": value for name, value in progress.by_source.items()}
    named |= {f"rate/{name}": value for name, value in progress.rates.items()}
    named |= {"gradient_norm": progress.gradient_norm, "learning_rate": progress.learning_rate, "skipped": float(progress.skipped)}
    return {name: value for name, value in named.items() if math.isfinite(value)}


class MetricsWriter:
    """Appends to `metrics.jsonl` and to `tensorboard/` in the run's folder. Lines after the step that the run goes on from are dropped."""

    def __init__(self, folder: Path, step: int, wandb_project: str | None = None) -> None:
        """Opens the files.

        Args:
            folder: Of the run.
            step: That it goes on from.
            wandb_project: Where Weights & Biases shall show it too; None for not at all.

        Raises:
            ModuleNotFoundError: When Weights & Biases is asked for and not installed.
            MetricsError: When it refuses, for want of a login say.
        """
        self._run: Any = None if wandb_project is None else _start_wandb(folder, wandb_project)
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(lines[:step]))
        self._file = path.open("a")
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            self._board = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))

    def write(self, progress: Progress) -> None:
        """One step."""
        self._file.write(json.dumps(_finite(asdict(progress))) + "\n")
        self._file.flush()
        if progress.step % BOARD_EVERY:
            return
        named = scalars(progress)
        if self._board is not None:
            for name, value in named.items():
                self._board.add_scalar(name, value, progress.step)
        if self._run is not None:
            self._run.log(named, step=progress.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()
        if self._run is not None:
            self._run.finish(exit_code=int(kind is not None))


def _start_wandb(folder: Path, project: str) -> Any:
    """The run of Weights & Biases that belongs to the folder: the same one after an interruption, wherever the folder is by then."""
    try:
        wandb: Any = importlib.import_module("wandb")
    except ImportError:
        raise ModuleNotFoundError("Weights & Biases was asked for and is not installed. Run: pip install wandb") from None
    path = folder / WANDB_ID
    run_id = path.read_text().strip() if path.is_file() else secrets.token_hex(8)
    try:
        run = wandb.init(project=project, id=run_id, name=folder.absolute().name, dir=str(folder), resume="allow")
    except wandb.Error as error:
        raise MetricsError(f"Weights & Biases cannot show the run: {error} (or set WANDB_MODE=offline)") from None
    path.write_text(run_id + "\n")
    return run


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with null for what JSON has no number for."""
    return {
        name: _finite(value) if isinstance(value, Mapping) else None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
