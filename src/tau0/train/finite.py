"""What to do when a loss or a gradient is not a number: name the batch, then stop, or leave the step out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch.distributed as dist

from tau0.train.config import TrainConfig
from tau0.train.parallel import is_first

MAX_SKIPPED = 10
"""So many steps in a row without a finite gradient are no accident: the run stops even where it may skip."""

NON_FINITE_NAME = "non_finite.jsonl"
_NAMED = 8


class NonFiniteLossError(ArithmeticError):
    """A loss or a gradient that is not a number; the message names the step, the terms and the batch."""


class FiniteGuard:
    """Watches the numbers of every step. All processes ask it with the same numbers, and get the same answer.

    Attributes:
        skipped: Steps that were left out so far.
    """

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self._may_skip, self._folder = config.on_non_finite == "skip", folder
        self.skipped = self._in_a_row = 0

    def passes(self, step: int, terms: Mapping[str, float], culprits: Callable[[], Sequence[str]]) -> bool:
        """Whether the step may be taken. One that may not is recorded in the run's folder.

        Args:
            step: Number of the step.
            terms: Losses and gradient norm, of all processes together.
            culprits: Names of this process's samples whose losses are not finite.

        Raises:
            NonFiniteLossError: When steps may not be skipped, or too many were in a row.
        """
        if all(map(math.isfinite, terms.values())):
            self._in_a_row = 0
            return True
        named = _gather(culprits())
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        if is_first():
            with (self._folder / NON_FINITE_NAME).open("a") as file:
                file.write(json.dumps({"step": step, "not_finite": bad, "samples": named}) + "\n")
        if self._may_skip and self._in_a_row <= MAX_SKIPPED:
            return False
        raise NonFiniteLossError(f"step {step}: {', '.join(bad)} not finite, {_blame(named)}; the state of the last checkpoint is intact")


def _gather(mine: Sequence[str]) -> list[str]:
    if not dist.is_initialized():
        return list(mine)
    everybody: list[Sequence[str]] = [()] * dist.get_world_size()
    dist.all_gather_object(everybody, list(mine))
    return [name for theirs in everybody for name in theirs]


def _blame(culprits: list[str]) -> str:
    if not culprits:
        return "though every sample's loss is"
    more = f" and more, see {NON_FINITE_NAME}" if len(culprits) > _NAMED else ""
    return f"computed from {'; '.join(culprits[:_NAMED])}{more}"
