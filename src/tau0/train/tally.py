"""Losses of one step: by term, and by source and kind of episode that each sample comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tau0.data.index import Stream
from tau0.data.windows import Rows
from tau0.train.objective import SampleErrors
from tau0.train.source import TrainingSource


class Tally:
    """Adds up errors over the parts of a step's batch. Numbers of several processes are averaged before they are read."""

    def __init__(self, source: TrainingSource) -> None:
        self._source = source
        self._sums: dict[str, Tensor] = {}
        self._parts: list[tuple[Stream, Rows, Mapping[str, SampleErrors]]] = []

    def add(self, stream: Stream, rows: Rows, errors: Mapping[str, SampleErrors]) -> None:
        """Takes in the errors of the samples whose current frames are `rows`."""
        detached = {term: SampleErrors(error.total.detach(), error.kept.detach()) for term, error in errors.items()}
        self._parts.append((stream, rows, detached))
        for term, error in detached.items():
            labels = torch.from_numpy(self._source.label_of(rows)).to(error.total.device)
            sums = torch.zeros(len(self._source.labels), 2, device=error.total.device)
            sums.index_add_(0, labels, torch.stack([error.total, error.kept], dim=1))
            self._sums[term] = self._sums[term] + sums if term in self._sums else sums

    def numbers(self) -> list[float]:
        """Sums and counts by term and label, to be averaged over processes."""
        return torch.stack(list(self._sums.values())).flatten().tolist()

    def losses(self, numbers: Sequence[float]) -> dict[str, float]:
        """Mean error of every term."""
        sums = self._by_term(numbers).sum(dim=1)
        return {term: float(total / kept.clamp(min=1e-9)) for term, (total, kept) in zip(self._sums, sums, strict=True)}

    def by_source(self, numbers: Sequence[float]) -> dict[str, float]:
        """The same by `term/label`, for labels that occurred in the step."""
        table = zip(self._sums, self._by_term(numbers), strict=True)
        cells = ((f"{term}/{label}", *cell) for term, cells in table for label, cell in zip(self._source.labels, cells, strict=True))
        return {name: float(total / kept) for name, total, kept in cells if kept > 0}

    def culprits(self) -> list[str]:
        """Names of the samples whose error is not finite."""
        named = []
        for stream, rows, errors in self._parts:
            bad = torch.stack([~error.total.isfinite() for error in errors.values()]).any(dim=0).cpu().numpy()
            named += [f"{stream} sample {name}" for name in self._source.describe(rows[bad])]
        return named

    def _by_term(self, numbers: Sequence[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64).reshape(len(self._sums), len(self._source.labels), 2)
