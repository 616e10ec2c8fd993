"""Episodes that are left out, each with its reason, and when there are too many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tau0.data.info import DatasetError

MOST = 0.5
"""Share of bad episodes above which it is the dataset, or its description, that is at fault."""
NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """An episode that cannot be used.

    Attributes:
        episode: The dataset's number of it.
        reason: The fault, with file and rows.
    """

    episode: int
    reason: str


def check_quarantine(root: object, quarantined: Sequence[Quarantined], total: int) -> None:
    """Refuses a dataset of which too little is left.

    Args:
        root: The dataset's folder, for the message.
        quarantined: Its bad episodes.
        total: All its episodes.

    Raises:
        DatasetError: When none is left, or more than half are bad. The first reasons are named.
    """
    if len(quarantined) <= MOST * total and len(quarantined) < total:
        return
    reasons = "; ".join(bad.reason for bad in quarantined[:NAMED])
    more = f"; and {len(quarantined) - NAMED} more" if len(quarantined) > NAMED else ""
    what = "no episode can be used" if len(quarantined) == total else f"{len(quarantined)} of {total} episodes cannot be used"
    raise DatasetError(f"{root}: {what}: {reasons}{more}")
