"""What a checkpoint says of each source that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from tau0.data.source_statistics import SourceStatistics


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """One source.

    Attributes:
        name: Of the source.
        robot: That recorded it; sources of one robot share their statistics.
        rows: At the model's rate.
        statistics: Of its states and measured actions.
    """

    name: str
    robot: str
    rows: int
    statistics: SourceStatistics
