"""What a recording itself shows and measures at any row, for those who compare imagined futures with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tau0.contract import Camera, Float, Pixels
from tau0.data.windows import Rows
from tau0.train.clips import PictureSpec, present_cameras
from tau0.train.picture_reader import PictureReader
from tau0.train.source import TrainingSource


class RecordedTruth:
    """Pictures and states of the first source of a `TrainingSource`, straight from the recording.

    Attributes:
        cameras: Roles in the order of the canvas, with the size that pictures are given in.
    """

    def __init__(self, source: TrainingSource, cameras: Sequence[Camera]) -> None:
        """Opens nothing yet. Raises `DatasetError` when the source has none of the cameras."""
        self.cameras = tuple(cameras)
        self._source = source
        self._aligned = source.sources[0].ingredient.aligned
        self._windows = source.sources[0].windows
        self._reader = PictureReader(self._aligned.dataset)
        self._present = present_cameras(self._aligned, PictureSpec(cameras=self.cameras))
        self._recorded = {episode.index: episode for episode in self._aligned.dataset.episodes}

    def pictures(self, rows: Rows) -> Pixels:
        """What every camera saw at some rows, in the given size; black where a camera does not exist.

        Args:
            rows: Global rows, any order, shape (n,).

        Returns:
            uint8 RGB, shape (n, v, h, w, 3).

        Raises:
            DatasetError: When a picture is missing or damaged.
        """
        height, width = self.cameras[0].height, self.cameras[0].width
        shown = np.zeros((len(rows), len(self.cameras), height, width, 3), np.uint8)
        of = self._windows.episode_of(rows)
        for position in np.unique(of):
            here = np.flatnonzero(of == position)
            frames, at = np.unique(np.maximum(self._aligned.frames[rows[here]], 0), return_inverse=True)
            episode = self._recorded[self._aligned.episodes[int(position)].index]
            for place, camera in self._present.items():
                shown[here, place] = self._reader.read(episode, camera, frames, height, width)[at]
        return shown

    def states(self, rows: Rows) -> Float:
        """Proprioception in robot units at some rows, shape (n, ds)."""
        return torch.stack([self._source.state(int(row)) for row in rows]).numpy()
