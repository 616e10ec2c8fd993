"""Pictures that are kept one by one, inside the rows or as files of their own: the `image` features of LeRobot."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from tau0.contract import Pixels
from tau0.data.catalogue import EpisodeInfo
from tau0.data.info import DatasetError, Info, open_parquet
from tau0.data.schema import EPISODE_INDEX


def read_images(info: Info, episode: EpisodeInfo, camera: str) -> Pixels:
    """All pictures of an image feature in one episode, uint8 RGB of shape (length, height, width, 3), in the order of its rows.

    Raises:
        DatasetError: When rows or pictures are missing, or a picture cannot be decoded. File and row are named.
    """
    path = episode.data_path
    cells = _cells(path, camera, None if info.has_file_per_episode else episode.index)
    if len(cells) != episode.length:
        raise DatasetError(f"{path} has {len(cells)} pictures of {camera} in episode {episode.index}, expected {episode.length}")
    pixels = [_decoded(cell, info.root, f"{path}, episode {episode.index}, row {row}: {camera}") for row, cell in enumerate(cells)]
    shapes = sorted({picture.shape for picture in pixels})
    if len(shapes) > 1:
        raise DatasetError(f"{path}, episode {episode.index}: pictures of {camera} have different sizes: {shapes}")
    return np.stack(pixels)


def _cells(path: Path, camera: str, episode: int | None) -> list[Mapping[str, Any] | None]:
    """The camera's cells of one episode, or of the whole file; the pictures of other episodes are dropped row group by row group."""
    with open_parquet(path) as file:
        if camera not in file.schema_arrow.names:
            raise DatasetError(f"{path} lacks the feature {camera}, which meta/info.json declares")
        cells: list[Mapping[str, Any] | None] = []
        for group in range(file.num_row_groups):
            if episode is None:
                cells.extend(file.read_row_group(group, columns=[camera])[camera].to_pylist())
                continue
            rows = np.flatnonzero(file.read_row_group(group, columns=[EPISODE_INDEX])[EPISODE_INDEX].to_numpy() == episode)
            if len(rows):
                cells.extend(file.read_row_group(group, columns=[camera])[camera].take(rows).to_pylist())
    return cells


def _decoded(cell: Mapping[str, Any] | None, root: Path, where: str) -> Pixels:
    content, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, Mapping) else (cell, None)
    if not content and name:
        file = root / name
        if not file.is_file():
            raise DatasetError(f"{where} is in {file}, which is missing")
        content = file.read_bytes()
    if not isinstance(content, bytes):
        raise DatasetError(f"{where} is empty")
    try:
        with av.open(io.BytesIO(content), "r") as container:
            frame = next(container.decode(video=0))
    except (av.error.FFmpegError, StopIteration) as error:
        raise DatasetError(f"{where} cannot be decoded as a picture: {error}") from error
    assert isinstance(frame, VideoFrame)
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
