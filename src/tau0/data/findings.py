"""What is worth knowing about a dataset: how bad, where, what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found out about a dataset.

    Attributes:
        severity: "error" makes the dataset, or an episode of it, unusable; "warning" is usable but should be looked at; "note" is
            good to know.
        check: Which check found it, such as "rows against frames".
        where: File, episode and rows concerned, as a person finds them.
        what: The fact, with its numbers.
        advice: What to do about it.
        episode: The dataset's number of the episode concerned, None where it concerns more than one.
    """

    severity: Severity
    check: str
    where: str
    what: str
    advice: str
    episode: int | None = None
