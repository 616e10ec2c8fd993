"""Metrics of a run: one JSON line a step, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tau0.train.loop import Progress

TENSORBOARD_EVERY = 10


class MetricsWriter:
    """Appends to `metrics.jsonl` and to `tensorboard/` in the run's folder. Lines after the step that the run goes on from are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(lines[:step]))
        self._file = path.open("a")
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            self._board = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))

    def write(self, progress: Progress) -> None:
        """One step."""
        self._file.write(json.dumps(asdict(progress)) + "\n")
        self._file.flush()
        if self._board is not None and progress.step % TENSORBOARD_EVERY == 0:
            for name, value in progress.losses.items():
                self._board.add_scalar(f"loss/{name}", value, progress.step)
            self._board.add_scalar("gradient_norm", progress.gradient_norm, progress.step)
            self._board.add_scalar("learning_rate", progress.learning_rate, progress.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()
