"""Reading LeRobot datasets, v3.0, v2.1 and v2.0: ours and other people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tau0.contract import ContractError, Embodiment, Pixels
from tau0.data.catalogue import EpisodeInfo, VideoSpan, read_v3
from tau0.data.decode import decode_frames
from tau0.data.findings import Finding
from tau0.data.images import read_images
from tau0.data.info import DatasetError, Feature, Info, read_info, read_subtasks, suggest
from tau0.data.schema import ACTION, IMAGE_PREFIX, STATE, SUBTASK_INDEX, TASK_INDEX, TIMESTAMP
from tau0.data.segments import Segment, row_segments
from tau0.data.table import Columns, RowReader, check_rows
from tau0.data.v2 import read_v2

__all__ = ["Dataset", "DatasetError", "EpisodeInfo", "VideoSpan"]


class Dataset:
    """A LeRobot dataset on disk. Opening reads only what it says about itself.

    Rows and pictures are read, and checked, when they are asked for, and not held beyond the last episode's rows.

    Attributes:
        info: The contents of meta/info.json, without cameras of which there is nothing.
        tasks: Instruction by `task_index`.
        episodes: Every episode, in the order of its number.
        quirks: What had to be set right to read it.
    """

    def __init__(self, info: Info, tasks: Mapping[int, str], episodes: tuple[EpisodeInfo, ...], quirks: tuple[Finding, ...] = ()) -> None:
        self.info = info
        self.tasks = tasks
        self.episodes = episodes
        self.quirks = quirks
        self._reader = RowReader(info, tasks)

    @classmethod
    def open(cls, root: str | Path) -> Dataset:
        """The dataset in the folder `root`.

        Raises:
            DatasetError: When a file of meta/ is missing, damaged, incomplete, or of another version of the format. The file is named.
        """
        info = read_info(Path(root))
        found = read_v2(info) if info.has_file_per_episode else read_v3(info)
        return cls(found.info, found.tasks, found.episodes, found.quirks)

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

        Time, frame numbers and the like are there whether or not the files hold them.

        Raises:
            DatasetError: When rows are missing, a feature is missing or has another size than declared, a number is not finite,
                time does not advance, or an instruction is unknown.
        """
        rows = self.unchecked(episode)
        check_rows(rows, episode, self.info, self.tasks)
        return rows

    def unchecked(self, episode: EpisodeInfo) -> Columns:
        """The same, whatever the numbers are.

        Raises:
            DatasetError: When rows or a feature are missing, or a feature has another size than declared.
        """
        return self._reader.rows(episode)

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

        Videos start with the episode: where its first timestamp is not 0, all are taken relative to it.

        Raises:
            DatasetError: When there is no such camera, or the video is missing, damaged, too short, or of another size than declared.
        """
        feature = self._camera(camera)
        if feature.dtype == "image":
            path, pixels = episode.data_path, read_images(self.info, episode, feature.name)
        else:
            span = episode.videos[feature.name]
            times_s = self.table(episode)[TIMESTAMP].astype(np.float64)
            path, pixels = span.path, decode_frames(span.path, span.from_s + times_s - times_s[0], self.fps)
        if pixels.shape[1:] != feature.shape:
            raise DatasetError(f"{path} shows pictures of {pixels.shape[1:]}, meta/info.json says {feature.shape}")
        return pixels

    def segments(self, episode: EpisodeInfo) -> tuple[Segment, ...]:
        """The subtasks of an episode as the dataset annotates them, with the episodes or row by row; none where it does not.

        Raises:
            DatasetError: As `table`, and when a row names a subtask that has no text.
        """
        if episode.segments or SUBTASK_INDEX not in self.features:
            return episode.segments
        try:
            return row_segments(self.table(episode)[SUBTASK_INDEX], self._subtasks)
        except KeyError as error:
            raise DatasetError(f"{episode.data_path}, episode {episode.index}: subtask_index {error} has no text in meta/") from error

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

    @cached_property
    def _subtasks(self) -> dict[int, str]:
        return read_subtasks(self.root)

    def _misfit(self, field: str, difference: str, embodiment: Embodiment) -> ContractError:
        return ContractError(f"dataset {self.root} does not fit {embodiment.name!r}: {field} {difference}")

    def _camera(self, camera: str) -> Feature:
        names = dict(zip(self.cameras, self.info.cameras, strict=True))
        if camera not in names:
            raise DatasetError(f"{self.root} has no camera {camera!r}{suggest(camera, names)}; it has {', '.join(names) or 'none'}")
        return self.features[names[camera]]
