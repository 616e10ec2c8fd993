"""One camera through one episode: how many frames there are, how much moves in them, and a few to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tau0.contract import Pixels
from tau0.data.catalogue import EpisodeInfo
from tau0.data.decode import frames_from, video_stream
from tau0.data.images import read_images
from tau0.data.info import DatasetError, Info

GLANCE = (48, 64)
"""Rows and columns of the grey picture in which motion is measured: small, so that noise averages out."""
PICTURE_WIDTH = 224


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was seen of one camera in one episode.

    Attributes:
        camera: Feature name.
        path: The file.
        num_frames: That could be decoded.
        size: Height and width of the pictures; (0, 0) where there are none.
        motion: Mean absolute change of grey level from each frame to the next, in [0, 255], shape (num_frames - 1,).
        contrast: Standard deviation of the grey levels of each frame, shape (num_frames,).
        pictures: A few frames, reduced, uint8 (n, h, w, 3); none where not asked for.
        picture_frames: Which frames they are.
        fault: Why no more frames could be decoded, "" when all could.
    """

    camera: str
    path: Path
    num_frames: int
    size: tuple[int, int]
    motion: NDArray[np.float32]
    contrast: NDArray[np.float32]
    pictures: Pixels
    picture_frames: tuple[int, ...]
    fault: str


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What a video file says about itself: codec, frames a second, frames (0 where unknown), and duration in seconds (0 where unknown)."""

    codec: str
    fps: float
    num_frames: int
    duration_s: float


def read_header(path: Path) -> VideoHeader:
    """The header of a video file.

    Raises:
        DatasetError: The file is missing, cannot be opened, or holds no video.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset is incomplete")
    try:
        with av.open(str(path)) as container:
            stream = video_stream(path, container)
            duration_s = float((stream.duration or 0) * (stream.time_base or 0))
            codec = stream.codec_context.codec.canonical_name
            return VideoHeader(codec=codec, fps=float(stream.average_rate or 0), num_frames=stream.frames, duration_s=duration_s)
    except av.error.FFmpegError as error:
        raise DatasetError(f"{path} is damaged: it cannot be opened ({error.strerror})") from error


def watch(info: Info, episode: EpisodeInfo, camera: str, num_pictures: int) -> Watched:
    """Looks at every frame of a camera in an episode, holding none but `num_pictures` reduced ones, evenly spread.

    Damage ends the looking and is told, not raised.
    """
    wanted = set(np.linspace(0, episode.length - 1, num_pictures).round().astype(int).tolist()) if num_pictures else set()
    path = episode.videos[camera].path if camera in episode.videos else episode.data_path
    frames, fault = _frames(info, episode, camera), ""
    motion, contrast, pictures, shown = [], [], [], []
    size, before, converter = (0, 0), None, VideoReformatter()
    try:
        for number, frame in enumerate(frames):
            size = (frame.height, frame.width)
            glance = converter.reformat(frame, width=GLANCE[1], height=GLANCE[0], format="gray").to_ndarray().astype(np.float32)
            contrast.append(glance.std())
            if before is not None:
                motion.append(np.abs(glance - before).mean())
            before = glance
            if number in wanted:
                shown.append(number)
                height = max(2, round(frame.height * PICTURE_WIDTH / frame.width))
                pictures.append(frame.reformat(width=PICTURE_WIDTH, height=height, format="rgb24").to_ndarray())
    except av.error.FFmpegError as error:
        fault = f"frame {len(contrast)} of {episode.length} cannot be decoded ({error.strerror})"
    except DatasetError as error:
        fault = str(error).removeprefix(f"{path} ")
    return Watched(
        camera=camera,
        path=path,
        num_frames=len(contrast),
        size=size,
        motion=np.array(motion, np.float32),
        contrast=np.array(contrast, np.float32),
        pictures=np.stack(pictures) if pictures else np.zeros((0, 2, 2, 3), np.uint8),
        picture_frames=tuple(shown),
        fault=fault,
    )


def _frames(info: Info, episode: EpisodeInfo, camera: str) -> Iterator[VideoFrame]:
    """Every frame of the episode, and beyond its end where the file is its own."""
    if camera not in episode.videos:
        yield from (VideoFrame.from_ndarray(pixels, format="rgb24") for pixels in read_images(info, episode, camera))
        return
    span, half = episode.videos[camera], 0.5 / info.fps
    if not span.path.is_file():
        raise DatasetError(f"{span.path} is missing")
    stop_s = inf if info.has_file_per_episode else span.to_s - half
    for time_s, frame in frames_from(span.path, span.from_s - half):
        if time_s >= stop_s:
            return
        yield frame
