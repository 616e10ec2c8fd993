"""Where the randomness of a query comes from: the seed of the episode, the step, and the purpose, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

Purpose = Literal["propose", "score", "simulate", "revise", "select"]
"""New ones are added at the end: the place in this list is part of the seed."""


@dataclass(frozen=True, kw_only=True)
class QueryNoise:
    """Independent streams of one query. Modes that ask the same question draw the same noise, so they can be compared in pairs.

    Attributes:
        seed: Of the episode, >= 0.
        step: Control step of the query, >= 0.
    """

    seed: int
    step: int

    def stream(self, purpose: Purpose) -> torch.Generator:
        """A generator at the start of the purpose's stream; asked again, it starts again."""
        entropy = np.random.SeedSequence([self.seed, self.step, get_args(Purpose).index(purpose)])
        return torch.Generator().manual_seed(int(entropy.generate_state(1)[0]))
