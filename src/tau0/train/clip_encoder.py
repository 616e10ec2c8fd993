"""Clips of a dataset to latents: pictures are decoded episode by episode in one pass each, and encoded in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.contract import Camera, Pixels
from tau0.data.episodes import DatasetError
from tau0.train.augmentation import Draw
from tau0.train.clips import Clips
from tau0.train.picture_encoder import PictureEncoder
from tau0.train.picture_reader import PictureReader

FRAMES_AT_ONCE = 512
"""Pixel frames of one camera that are in memory together, about."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Latents of some clips as one camera sees them.

    Attributes:
        clips: Positions of the clips, shape (some,).
        view: Place of the camera on the canvas.
        latents: Shape (some, f, z, h, w).
    """

    clips: NDArray[np.int64]
    view: int
    latents: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Clips whose pictures cannot be had.

    Attributes:
        clips: Positions of the clips, all of one episode, shape (some,).
        view: Place of the camera on the canvas.
        episode: The dataset's number of the episode.
        reason: A sentence.
    """

    clips: NDArray[np.int64]
    view: int
    episode: int
    reason: str


class ClipEncoder:
    """Encodes clips of one dataset.

    Attributes:
        encoder: Which.
        cameras: The dataset's camera by view: what of the canvas the dataset has.
        canvas: Every view, with its size.
    """

    def __init__(self, reader: PictureReader, encoder: PictureEncoder, cameras: Mapping[int, str], canvas: Sequence[Camera]) -> None:
        self.encoder = encoder
        self.cameras = dict(cameras)
        self.canvas = tuple(canvas)
        self._reader = reader

    def encode(self, clips: Clips, draws: Sequence[Draw] | None = None) -> Iterator[Encoded | Unreadable]:
        """Latents of all clips in all cameras, some at a time, in no particular order.

        Args:
            clips: Of any episodes; the same clip twice is encoded twice.
            draws: How each clip is changed; not at all unless given.
        """
        enough = max(1, FRAMES_AT_ONCE // clips.frames.shape[1])
        for view in self.cameras:
            waiting: list[Pixels] = []
            positions: list[NDArray[np.int64]] = []
            for some, pictures in self._decoded(clips, view, enough):
                if isinstance(pictures, Unreadable):
                    yield pictures
                    continue
                waiting.extend(pictures)
                positions.append(some)
                if len(waiting) >= enough:
                    yield self._encoded(positions, waiting, view, draws)
                    waiting, positions = [], []
            if waiting:
                yield self._encoded(positions, waiting, view, draws)

    def _encoded(self, positions: Sequence[NDArray[np.int64]], clips: Sequence[Pixels], view: int, draws: Sequence[Draw] | None) -> Encoded:
        at = np.concatenate(positions)
        mine = None if draws is None else [draws[i] for i in at]
        return Encoded(clips=at, view=view, latents=self.encoder.encode(clips, mine, view))

    def _decoded(self, clips: Clips, view: int, enough: int) -> Iterator[tuple[NDArray[np.int64], list[Pixels] | Unreadable]]:
        """Positions of clips of one episode, and the pictures of each, shape (t, h, w, c)."""
        camera, size = self.cameras[view], self.canvas[view]
        order = np.lexsort((clips.frames[:, 0], clips.episode))
        borders = np.flatnonzero(np.diff(clips.episode[order])) + 1
        for group in np.split(order, borders) if len(order) else ():
            episode = self._reader.dataset.episodes[int(clips.episode[group[0]])]
            for start in range(0, len(group), enough):
                some = group[start : start + enough]
                frames, where = np.unique(clips.frames[some], return_inverse=True)
                try:
                    pictures = self._reader.read(episode, camera, frames, size.height, size.width)
                except DatasetError as error:
                    yield some, Unreadable(clips=some, view=view, episode=episode.index, reason=str(error))
                    continue
                yield some, [pictures[at] for at in where.reshape(len(some), -1)]
