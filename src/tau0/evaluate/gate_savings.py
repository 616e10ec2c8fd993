"""What a gate saves: simulations that were not made, at which success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tau0.evaluate.compare import side_by_side
from tau0.evaluate.records import EpisodeRecord, RecordsError
from tau0.evaluate.statistics import Interval, clustered_interval
from tau0.evaluate.table import Comparison, Rate, summarize


@dataclass(frozen=True, kw_only=True)
class GateSavings:
    """A mode with its gate beside the same mode with one that never passes.

    Attributes:
        simulated_gated: Decisions an episode that imagined futures, with the gate.
        simulated_always: The same without.
        saved: Share of these that the gate saves, with a bootstrap interval that draws episodes again.
        solved_gated: Success with the gate.
        solved_always: Success without.
        comparison: With the gate against without, episode by episode.
    """

    simulated_gated: float
    simulated_always: float
    saved: Interval
    solved_gated: Rate
    solved_always: Rate
    comparison: Comparison


def gate_savings(gated: Sequence[EpisodeRecord], always: Sequence[EpisodeRecord], seed: int = 0) -> GateSavings:
    """The share of simulations that a gate saves on the same episodes: `1 - sum simulated with it / sum simulated without`.

    Args:
        gated: Episodes of one mode, as calibrated.
        always: The same episodes with a gate that never passes.
        seed: Of the bootstraps.

    Raises:
        RecordsError: They are not the same episodes, or nothing was simulated without the gate.
    """
    (records,) = side_by_side({"never passes": always, "as calibrated": gated}).values()
    before, after = summarize(records, seed)
    assert after.against_first is not None
    simulated = {_episode(record): record.result.simulated for record in gated}
    pairs = np.array([(simulated[_episode(record)], record.result.simulated) for record in always], np.float64)
    if not pairs[:, 1].any():
        raise RecordsError("nothing was simulated with the gate that never passes: evaluate with --gate-threshold inf")
    saved = clustered_interval(
        lambda rows: float(1 - pairs[rows, 0].sum() / pairs[rows, 1].sum()), np.arange(len(pairs)), np.random.default_rng(seed)
    )
    gated_mean, always_mean = pairs.mean(axis=0)
    return GateSavings(
        simulated_gated=float(gated_mean),
        simulated_always=float(always_mean),
        saved=saved,
        solved_gated=after.pooled,
        solved_always=before.pooled,
        comparison=after.against_first,
    )


def _episode(record: EpisodeRecord) -> tuple[str, int, str | None]:
    return record.result.task, record.result.seed, record.requested_instruction
