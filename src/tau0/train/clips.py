"""What is encoded together: a still, or a window of frames, by the numbers that the recording gives its frames.

Rows here count as those of a source aligned to the model's rate; frames are the recording's own. SPEC.md section 2, "Frames".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Int64
from numpy.typing import NDArray

from tau0.contract import Camera
from tau0.data.description import SourceDescription
from tau0.data.episodes import Dataset, DatasetError, EpisodeInfo


class Recording(Protocol):
    """What is asked of a source aligned to the model's rate.

    Attributes:
        dataset: The recording.
        description: What it means; its cameras by role.
        episodes: Those that are used, with `start` and `length` in rows, counted from 0.
        frames: By row, the recording's frame of that episode nearest in time, -1 where there is none; shape (rows,).
    """

    @property
    def dataset(self) -> Dataset: ...
    @property
    def description(self) -> SourceDescription: ...
    @property
    def episodes(self) -> Sequence[EpisodeInfo]: ...
    @property
    def frames(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, kw_only=True)
class AsRecorded:
    """A `Recording` of every frame at the recording's own rate, which is all that latents of single frames depend on.

    Attributes:
        dataset: The recording.
        description: What it means; its cameras by role.
    """

    dataset: Dataset
    description: SourceDescription

    @property
    def episodes(self) -> Sequence[EpisodeInfo]:
        """All of them; rows are the dataset's."""
        return self.dataset.episodes

    @property
    def frames(self) -> NDArray[np.int64]:
        """Each row's own."""
        return np.concatenate([np.arange(episode.length) for episode in self.dataset.episodes])


@dataclass(frozen=True, kw_only=True)
class PictureSpec:
    """Which pictures a model sees.

    Attributes:
        cameras: Roles in the order of the canvas, with the size that the model wants.
        frame_stride: Rows between two pixel frames of a window, for an autoencoder that shrinks time.
        num_future: Latent frames of a window after the current one, for such an autoencoder.
    """

    cameras: tuple[Camera, ...]
    frame_stride: int = 4
    num_future: int = 2

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected cameras of different roles, at least one, got {', '.join(names) or 'none'}")
        if self.frame_stride < 1 or self.num_future < 0:
            raise ValueError(f"frame_stride must be at least 1 and num_future 0, got {self.frame_stride} and {self.num_future}")


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clips of one length, each within one episode.

    Attributes:
        episode: Its place in the dataset's list, shape (n,).
        frames: The recording's frames, in [0, length of the episode), shape (n, t).
    """

    episode: Int64[np.ndarray, " n"]
    frames: Int64[np.ndarray, "n t"]

    def __len__(self) -> int:
        return len(self.episode)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Clips:
        """Some of them."""
        return Clips(episode=self.episode[index], frames=self.frames[index])


class ClipFinder:
    """Which clips the rows of an aligned source are, and which of their latent frames exist.

    Attributes:
        episodes: Of the source.
    """

    def __init__(self, recording: Recording, spec: PictureSpec, time_stride: int) -> None:
        self.episodes = tuple(recording.episodes)
        self._frames, self._time_stride = recording.frames, time_stride
        self._offsets = spec.frame_stride * np.arange(1 + time_stride * spec.num_future)
        place = {episode.index: i for i, episode in enumerate(recording.dataset.episodes)}
        self._place = np.array([place[episode.index] for episode in self.episodes], np.int64)
        self._start = np.array([episode.start for episode in self.episodes], np.int64)
        self._last = np.array([episode.stop - 1 for episode in self.episodes], np.int64)

    def episode_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in `episodes`, of the same shape. Raises `IndexError` for a row that is not there."""
        if len(rows) and not 0 <= rows.min() <= rows.max() <= self._last[-1]:
            raise IndexError(f"rows run from 0 to {self._last[-1]}, got {rows.min()} to {rows.max()}")
        return np.searchsorted(self._start, rows, side="right") - 1

    def stills(self, rows: NDArray[np.int64]) -> tuple[Clips, Bool[np.ndarray, "n 1"]]:
        """The single frame of each row, shape (n,), and whether there is one."""
        frames = self._frames[rows][:, None]
        clips = Clips(episode=self._place[self.episode_of(rows)], frames=np.maximum(frames, 0))
        return clips, frames >= 0

    def windows(self, rows: NDArray[np.int64]) -> tuple[Clips, Bool[np.ndarray, "n f"]]:
        """The window that begins at each row, shape (n,), and which of its latent frames exist.

        Beyond the end of the episode, and where no frame is near, the frame before is repeated. A latent frame exists only when all of its
        pixel frames do, and all before them: the encoder carries the past along.
        """
        episode = self.episode_of(rows)
        wanted, last = rows[:, None] + self._offsets, self._last[episode][:, None]
        frames = self._frames[np.minimum(wanted, last)]
        exists = np.logical_and.accumulate((wanted <= last) & (frames >= 0), axis=1)
        filled = np.maximum.accumulate(np.where(frames >= 0, np.arange(frames.shape[1]), 0), axis=1)
        frames = np.maximum(np.take_along_axis(frames, filled, axis=1), 0)
        groups = rearrange(exists[:, 1:], "n (f t) -> n f t", t=self._time_stride).all(axis=2)
        return Clips(episode=self._place[episode], frames=frames), np.concatenate([exists[:, :1], groups], axis=1)


def present_cameras(recording: Recording, spec: PictureSpec) -> dict[int, str]:
    """The dataset's camera for each role that the source has, by the role's place on the canvas.

    Raises:
        DatasetError: When the description names a camera that the dataset does not have, or the source has none of the roles.
    """
    dataset, named = recording.dataset, recording.description.cameras
    for role, camera in named.items():
        if camera not in dataset.cameras:
            known = ", ".join(dataset.cameras) or "none"
            message = f"{dataset.root}: its description says that {role!r} is the camera {camera!r}, but it has {known}"
            raise DatasetError(message)
    present = {place: named[camera.name] for place, camera in enumerate(spec.cameras) if camera.name in named}
    if not present:
        wanted, has = (", ".join(names) or "none" for names in ([camera.name for camera in spec.cameras], named))
        raise DatasetError(f"{dataset.root} has none of the cameras that the model sees: wanted {wanted}; described are {has}")
    return present
