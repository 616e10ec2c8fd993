"""Reading LeRobot v3.0 datasets: ours and other people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ContractError, Embodiment, Pixels
from tau0.data.catalogue import EpisodeInfo, VideoSpan, read_catalogue
from tau0.data.decode import decode_frames
from tau0.data.info import DatasetError, Feature, Info, read_info, read_tasks, suggest
from tau0.data.schema import ACTION, IMAGE_PREFIX, STATE, TASK_INDEX, TIMESTAMP
from tau0.data.table import Columns, check_rows, episode_rows, read_columns

__all__ = ["Dataset", "DatasetError", "EpisodeInfo", "VideoSpan"]


class Dataset:
    """A LeRobot v3.0 dataset on disk. Opening reads only what it says about itself.

    Rows and pictures are read, and checked, when they are asked for.

    Attributes:
        info: The contents of meta/info.json.
        tasks: Instruction by `task_index`.
        episodes: Every episode, in the order of its number.
    """

    def __init__(self, info: Info, tasks: Mapping[int, str], episodes: tuple[EpisodeInfo, ...]) -> None:
        self.info = info
        self.tasks = tasks
        self.episodes = episodes
        self._opened: tuple[Path, Columns] | None = None

    @classmethod
    def open(cls, root: str | Path) -> Dataset:
        """The dataset in the folder `root`.

        Raises:
            DatasetError: When a file of meta/ is missing, damaged, incomplete, or of another version of the format. The file is named.
        """
        info = read_info(Path(root))
        return cls(info, read_tasks(info.root), read_catalogue(info))

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def root(self) -> Path:
        """The folder."""
        return self.info.root

    @property
    def fps(self) -> float:
        """Rows, and frames, a second."""
        return self.info.fps

    @property
    def features(self) -> Mapping[str, Feature]:
        """Columns and cameras by name."""
        return self.info.features

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras as the contract gives them: "front", not "observation.images.front"."""
        return tuple(name.removeprefix(IMAGE_PREFIX) for name in self.info.cameras)

    @property
    def num_rows(self) -> int:
        """Rows of all episodes: global rows run from 0 to here."""
        return self.episodes[-1].stop

    def table(self, episode: EpisodeInfo) -> Columns:
        """The numeric columns of one episode by name: shape (length,) for single numbers, (length, size) otherwise. Do not write to them.

        Raises:
            DatasetError: When rows are missing, a feature is missing or has another size than declared, a number is not finite,
                time does not advance, or an instruction is unknown.
        """
        path = episode.data_path
        if self._opened is None or self._opened[0] != path:
            self._opened = path, read_columns(path, self.info)
        rows = episode_rows(self._opened[1], episode, path)
        check_rows(rows, episode, self.tasks, path)
        return rows

    def columns(self, names: Sequence[str]) -> Columns:
        """Whole columns over the global rows of the dataset, shape (num_rows, ...).

        Raises:
            DatasetError: As `table`, and when a feature does not exist.
        """
        for name in names:
            self.info.feature(name)
        tables = [self.table(episode) for episode in self.episodes]
        return {name: np.concatenate([table[name] for table in tables]) for name in names}

    def frames(self, episode: EpisodeInfo, camera: str) -> Pixels:
        """All pictures of one camera in one episode, uint8 RGB of shape (length, height, width, 3): frame k is what was seen at row k.

        Raises:
            DatasetError: When there is no such camera, or the video is missing, damaged, too short, or of another size than declared.
        """
        feature = self._camera(camera)
        span = episode.videos[feature.name]
        times_s: NDArray[np.float64] = span.from_s + self.table(episode)[TIMESTAMP].astype(np.float64)
        pixels = decode_frames(span.path, times_s, self.fps)
        if pixels.shape[1:] != feature.shape:
            raise DatasetError(f"{span.path} shows pictures of {pixels.shape[1:]}, meta/info.json says {feature.shape}")
        return pixels

    def instruction(self, row: Mapping[str, Any], index: int = 0) -> str:
        """The instruction of row `index` of a table, which may change within an episode."""
        return self.tasks[int(row[TASK_INDEX][index])]

    def check_against(self, embodiment: Embodiment) -> None:
        """Refuses data that a model for `embodiment` cannot be trained on. Cameras that the embodiment does not have are ignored.

        Raises:
            ContractError: When a camera, its size, the state, the action or the rate does not fit. The first field that differs is named.
        """
        for camera in embodiment.cameras:
            if camera.name not in self.cameras:
                hint = suggest(camera.name, dict.fromkeys(self.cameras))
                raise self._misfit("cameras", f"lacks {camera.name!r}{hint}, it has {', '.join(self.cameras) or 'none'}", embodiment)
            shape, wanted = self._camera(camera.name).shape, (camera.height, camera.width, 3)
            if shape != wanted:
                raise self._misfit("cameras", f"{camera.name!r} is {shape}, expected {wanted}", embodiment)
        self._check_vector(STATE, "state_names", embodiment.state_names, embodiment)
        self._check_vector(ACTION, "action", embodiment.action.names, embodiment)
        if self.fps != embodiment.control_hz:
            raise self._misfit("control_hz", f"is {self.fps:g}, expected {embodiment.control_hz:g}", embodiment)

    def _check_vector(self, name: str, field: str, wanted: tuple[str, ...], embodiment: Embodiment) -> None:
        if name not in self.features:
            raise self._misfit(field, f"needs the feature {name!r}, which the dataset does not have", embodiment)
        feature = self.features[name]
        if feature.shape != (len(wanted),):
            raise self._misfit(field, f"has shape {feature.shape}, expected ({len(wanted)},): {', '.join(wanted)}", embodiment)
        if feature.names and feature.names != wanted:
            raise self._misfit(field, f"is {', '.join(feature.names)}; expected {', '.join(wanted)}", embodiment)

    def _misfit(self, field: str, difference: str, embodiment: Embodiment) -> ContractError:
        return ContractError(f"dataset {self.root} does not fit {embodiment.name!r}: {field} {difference}")

    def _camera(self, camera: str) -> Feature:
        names = dict(zip(self.cameras, self.info.cameras, strict=True))
        if camera not in names:
            raise DatasetError(f"{self.root} has no camera {camera!r}{suggest(camera, names)}; it has {', '.join(names) or 'none'}")
        return self.features[names[camera]]
