"""Single pictures out of any number of sources, for training an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tau0.contract import Camera, Pixels
from tau0.data.aligned import AlignedSource
from tau0.data.catalogue import EpisodeInfo
from tau0.data.episodes import DatasetError
from tau0.train.clips import PictureSpec, present_cameras
from tau0.train.picture_reader import PictureReader


def draw_frames(
    sources: Sequence[tuple[AlignedSource, Sequence[EpisodeInfo]]], cameras: Sequence[Camera], num_frames: int, rng: np.random.Generator
) -> list[Pixels]:
    """About `num_frames` frames for each camera, at least one, spread evenly over the given episodes; uint8 (n, h, w, 3) each.

    Episodes whose pictures cannot be read are passed over: they are named when they are encoded.

    Args:
        sources: Each with the episodes that frames may come from.
        cameras: Roles, with the size that is wanted.
        num_frames: For each camera.
        rng: Source of the choice.

    Raises:
        DatasetError: When no picture can be read, or a role has none at all.
    """
    share = num_frames / sum(episode.length for _, episodes in sources for episode in episodes)
    kept: dict[str, list[Pixels]] = {camera.name: [] for camera in cameras}
    unread: list[str] = []
    for source, episodes in sources:
        reader, spec = PictureReader(source.dataset), PictureSpec(cameras=tuple(cameras))
        recorded = {episode.index: episode for episode in source.dataset.episodes}
        for episode in episodes:
            wanted = rng.random(episode.length) < share
            wanted[0] |= episode is episodes[0]
            if wanted.any():
                frames = np.unique(source.frames[episode.start + np.flatnonzero(wanted)])
                _read(reader, recorded[episode.index], present_cameras(source, spec), cameras, frames, kept, unread)
        reader.close()
    if absent := [name for name, pictures in kept.items() if not pictures]:
        why = f": {unread[0]}" if unread else ""
        raise DatasetError(f"there is no picture for {', '.join(absent)} to train an autoencoder on{why}")
    return [np.concatenate(kept[camera.name]) for camera in cameras]


def _read(
    reader: PictureReader,
    episode: EpisodeInfo,
    present: Mapping[int, str],
    cameras: Sequence[Camera],
    frames: np.ndarray,
    kept: Mapping[str, list[Pixels]],
    unread: list[str],
) -> None:
    for place, name in present.items():
        camera = cameras[place]
        try:
            kept[camera.name].append(reader.read(episode, name, frames, camera.height, camera.width))
        except DatasetError as error:
            unread.append(str(error))
