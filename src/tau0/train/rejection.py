"""Samples that no network shall see: a state or an action far from everything else (SPEC.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tau0.actions import ActionCodec
from tau0.data.catalogue import EpisodeInfo
from tau0.data.windows import Windows

CHUNK = 8192


def reject_outliers(
    codec: ActionCodec, windows: Windows, episodes: Sequence[EpisodeInfo], state: Tensor, actions: Mapping[str, Tensor]
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which rows of the dataset may begin a sample, and how many samples of `episodes` may not, by reason.

    Args:
        codec: What it refuses to normalise is rejected.
        windows: Of the whole dataset.
        episodes: Those that are looked at; rows of others are kept.
        state: Robot units by global row, shape (rows, ds).
        actions: By name, robot units by global row, shape (rows, da) each.

    Returns:
        A mask over global rows, and counts by "state" or the name of the actions; a sample may have several reasons.
    """
    keep, counts = np.ones(windows.num_rows, np.bool_), dict.fromkeys(("state", *actions), 0)
    rows = np.concatenate([np.arange(episode.start, episode.stop) for episode in episodes]) if episodes else np.zeros(0, np.int64)
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        steps, current = torch.from_numpy(windows.resolve(part).actions), state[part]
        accepted = {"state": codec.state.accepts(current)}
        accepted |= {name: codec.accepts(column[steps], current) for name, column in actions.items()}
        for reason, mask in accepted.items():
            counts[reason] += int((~mask).sum())
        keep[part] = torch.stack(list(accepted.values())).all(dim=0).numpy()
    return keep, {reason: count for reason, count in counts.items() if count}
