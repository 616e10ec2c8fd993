"""Which episodes are held out: the same ones every time, and never two that share a past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Literal

from tau0.data.catalogue import EpisodeInfo

Split = Literal["train", "validation", "all"]


def split_episodes(episodes: Sequence[EpisodeInfo], validation_share: float = 0.05) -> dict[Split, tuple[EpisodeInfo, ...]]:
    """Holds out evenly spaced episodes of every task and kind; a branch goes where its parent goes, or else where its group goes.

    Episodes that have branches stand together in a collection: evenly spaced, their share of what is held out is their share of all.
    What is the only one of its task and kind cannot be held out as such: all of these are taken together, kind by kind, as if they were of
    one task. Of recordings that each have their own instruction, some are held out then, and their instructions with them.

    Args:
        episodes: Of one dataset.
        validation_share: Of the episodes of each task and kind, and of those that are alone in theirs, in [0, 1), rounded up but never
            all of them.

    Raises:
        ValueError: When the share is out of range.
    """
    if not 0 <= validation_share < 1:
        raise ValueError(f"validation_share must be in [0, 1), got {validation_share}")
    families: dict[tuple[str, int], list[EpisodeInfo]] = defaultdict(list)
    for episode in episodes:
        families[_family(episode)].append(episode)
    held_out = set()
    for members in _strata(families.values()):
        count = min(ceil(validation_share * len(members)), len(members) - 1)
        last = len(members) - 1
        held_out |= {episode.index for i in range(count) for episode in members[last - i * len(members) // count]}
    return {
        "all": tuple(episodes),
        "train": tuple(episode for episode in episodes if episode.index not in held_out),
        "validation": tuple(episode for episode in episodes if episode.index in held_out),
    }


def _strata(families: Iterable[list[EpisodeInfo]]) -> list[list[list[EpisodeInfo]]]:
    """Families of one task and kind; those without a second one, of one kind."""
    strata: dict[tuple[str, str], list[list[EpisodeInfo]]] = defaultdict(list)
    for family in families:
        head = min(family, key=lambda episode: episode.parent >= 0)
        strata[head.task, head.kind].append(family)
    alone: dict[str, list[list[EpisodeInfo]]] = defaultdict(list)
    for (_, kind), members in strata.items():
        if len(members) == 1:
            alone[kind] += members
    return [*(members for members in strata.values() if len(members) > 1), *alone.values()]


def _family(episode: EpisodeInfo) -> tuple[str, int]:
    if episode.parent >= 0:
        return "episode", episode.parent
    if episode.group >= 0:
        return "group", episode.group
    return "episode", episode.index
