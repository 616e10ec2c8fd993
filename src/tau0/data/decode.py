"""Pixels out of video files: the frames of one episode, chosen by timestamp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tau0.contract import Pixels
from tau0.data.info import DatasetError


def decode_frames(path: Path, times_s: NDArray[np.float64], fps: float) -> Pixels:
    """The frames shown at `times_s`, in one sequential pass from the key frame before the first.

    Args:
        path: A video file.
        times_s: Seconds since the start of the file, increasing, shape (t,).
        fps: Frames a second; a frame is accepted when it lies within half a period of its time.

    Returns:
        uint8 pixels, RGB, shape (t, h, w, 3).

    Raises:
        DatasetError: When the file is missing, damaged, or has no frame at one of the times.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset is incomplete")
    if not len(times_s):
        raise ValueError(f"no times were given for {path}")
    tolerance_s, found = 0.5 / fps, []
    # One converter of one thread for all frames: a fresh one for each, or threads, cost more than decoding a small picture.
    converter = VideoReformatter()
    try:
        for time_s, frame in frames_from(path, float(times_s[0]) - tolerance_s):
            while len(found) < len(times_s) and abs(time_s - times_s[len(found)]) < tolerance_s:
                found.append(converter.reformat(frame, format="rgb24", threads=1).to_ndarray())
            if len(found) == len(times_s):
                return np.stack(found)
            if time_s > times_s[len(found)] + tolerance_s:
                break
    except av.error.FFmpegError as error:
        raise DatasetError(
            f"{path} is damaged: frame {len(found)} of {len(times_s)} of the episode cannot be decoded ({error.strerror})"
        ) from error
    raise DatasetError(f"{path} has no frame at {times_s[len(found)]:.3f} s: it gives {len(found)} of the episode's {len(times_s)} frames")


def frames_from(path: Path, start_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Times in seconds and frames, decoded one after another from the key frame before `start_s`.

    Raises:
        FFmpegError: When the file or a frame of it is damaged.
        DatasetError: When the file holds no video.
    """
    with av.open(str(path)) as container:
        stream = video_stream(path, container)
        time_base = float(stream.time_base or 0)
        origin = stream.start_time or 0
        if start_s > 0:
            container.seek(origin + int(start_s / time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and (time_s := (frame.pts - origin) * time_base) >= start_s:
                yield time_s, frame


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The file's first video stream, set to refuse damage. Raises `DatasetError` when there is none."""
    if not container.streams.video:
        raise DatasetError(f"{path} holds no video stream")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    # A damaged packet must raise: by default the decoder conceals it with a repeated or grey picture.
    stream.codec_context.options = {"err_detect": "explode"}
    return stream
