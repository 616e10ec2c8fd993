"""A dataset seen at its own rate, or at every so many of its rows: what alignment gives, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tau0.data.description import SourceDescription
from tau0.data.episodes import Dataset, EpisodeInfo


@dataclass(frozen=True, kw_only=True)
class FakeRecording:
    """See `tau0.train.clips.Recording`."""

    dataset: Dataset
    description: SourceDescription
    episodes: tuple[EpisodeInfo, ...]
    frames: NDArray[np.int64]


def recording(
    dataset: Dataset, cameras: Mapping[str, str], every: int = 1, missing: Sequence[int] = (), without: Sequence[int] = ()
) -> FakeRecording:
    """Rows are every `every`-th frame of each episode. `missing` rows have no frame; episodes numbered `without` are not used."""
    episodes: list[EpisodeInfo] = []
    frames = []
    for episode in dataset.episodes:
        if episode.index in without:
            continue
        frames.append(np.arange(0, episode.length, every))
        episodes.append(replace(episode, start=episodes[-1].stop if episodes else 0, length=len(frames[-1])))
    rows = np.concatenate(frames)
    rows[list(missing)] = -1
    description = SourceDescription(name="fake", kind="egocentric", embodiment="fake", cameras=cameras)
    return FakeRecording(dataset=dataset, description=description, episodes=tuple(episodes), frames=rows)
