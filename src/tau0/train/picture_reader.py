"""Chosen pictures of any episode, out of video files that stay open: what decoding at training time needs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tau0.contract import Pixels
from tau0.data.decode import video_stream
from tau0.data.episodes import Dataset, DatasetError, EpisodeInfo
from tau0.data.info import suggest
from tau0.data.schema import TIMESTAMP
from tau0.views import resize_pixels

MAX_OPEN = 12
"""Video files kept open. Each holds a decoder of some megabytes."""
CLOCKS_KEPT = 256
RESIZED_TOGETHER = 32


class PictureReader:
    """Reads single frames of a dataset's cameras. Not for use by several threads at once; `close` it, or let it go."""

    def __init__(self, dataset: Dataset, max_open: int = MAX_OPEN) -> None:
        self.dataset = dataset
        self._features = dict(zip(dataset.cameras, dataset.info.cameras, strict=True))
        self._max_open = max_open
        self._open: OrderedDict[Path, _OpenVideo] = OrderedDict()
        self._clocks: OrderedDict[int, NDArray[np.float64]] = OrderedDict()

    def read(self, episode: EpisodeInfo, camera: str, frames: NDArray[np.int64], height: int, width: int) -> Pixels:
        """Some frames of one episode in the given size, decoded in one pass.

        Args:
            episode: Of the dataset.
            camera: As the dataset calls it.
            frames: Numbers of the frames, increasing, each in [0, episode.length), shape (t,).
            height: Wanted rows.
            width: Wanted columns.

        Returns:
            uint8 RGB, shape (t, height, width, 3).

        Raises:
            DatasetError: When there is no such camera, or a picture is missing, damaged, or of another size than declared.
        """
        if camera not in self._features:
            known = ", ".join(self._features) or "none"
            raise DatasetError(f"{self.dataset.root} has no camera {camera!r}{suggest(camera, self._features)}; it has {known}")
        feature = self.dataset.features[self._features[camera]]
        if feature.dtype == "image":
            return resize_pixels(self.dataset.frames(episode, camera)[frames], height, width)
        path = episode.videos[feature.name].path
        resized: list[Pixels] = []
        waiting: list[Pixels] = []
        for picture in self._decoded(episode, feature.name, frames):
            if picture.shape != feature.shape:
                raise DatasetError(f"{path} shows pictures of {picture.shape}, meta/info.json says {feature.shape}")
            waiting.append(picture)
            if len(waiting) == RESIZED_TOGETHER:
                resized.append(resize_pixels(np.stack(waiting), height, width))
                waiting.clear()
        if waiting:
            resized.append(resize_pixels(np.stack(waiting), height, width))
        return np.concatenate(resized)

    def close(self) -> None:
        """Closes every file."""
        for video in self._open.values():
            video.close()
        self._open.clear()

    def _decoded(self, episode: EpisodeInfo, feature: str, frames: NDArray[np.int64]) -> Iterator[Pixels]:
        span, clock = episode.videos[feature], self._clock(episode)
        done = 0
        try:
            video = self._video(span.path)
            for picture in video.pictures(span.from_s + clock[frames], 0.5 / self.dataset.fps):
                yield picture
                done += 1
        except av.error.FFmpegError as error:
            self._drop(span.path)
            frame = frames[min(done, len(frames) - 1)]
            message = f"{span.path} is damaged: frame {frame} of episode {episode.index} cannot be decoded ({error.strerror})"
            raise DatasetError(message) from error
        if done < len(frames):
            time_s = span.from_s + clock[frames[done]]
            raise DatasetError(
                f"{span.path} has no frame at {time_s:.3f} s, which frame {frames[done]} of episode {episode.index} should be"
            )

    def _clock(self, episode: EpisodeInfo) -> NDArray[np.float64]:
        """Seconds since the episode's first frame, shape (length,)."""
        clock = self._clocks.pop(episode.index, None)
        if clock is None:
            times_s = self.dataset.unchecked(episode)[TIMESTAMP].astype(np.float64)
            clock = times_s - times_s[0]
        self._clocks[episode.index] = clock
        if len(self._clocks) > CLOCKS_KEPT:
            self._clocks.popitem(last=False)
        return clock

    def _video(self, path: Path) -> _OpenVideo:
        if path not in self._open:
            if not path.is_file():
                raise DatasetError(f"{path} is missing: the dataset is incomplete")
            while len(self._open) >= self._max_open:
                self._open.popitem(last=False)[1].close()
            self._open[path] = _OpenVideo(path)
        self._open.move_to_end(path)
        return self._open[path]

    def _drop(self, path: Path) -> None:
        """Forgets a file whose decoder met damage: what it would say next is not to be trusted."""
        if (video := self._open.pop(path, None)) is not None:
            video.close()


class _OpenVideo:
    """One video file and where its decoder stands. Times are counted in the stream's own ticks since its first frame."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path))
        self._stream = video_stream(path, self._container)
        self._tick_s = float(self._stream.time_base or 1)
        self._origin = self._stream.start_time or 0
        self._keys = _key_frames(self._stream.index_entries)
        self._converter = VideoReformatter()
        self._packets: Iterator[Packet] = iter(())
        self._frames: Iterator[VideoFrame] = iter(())
        self._last: tuple[int, VideoFrame] | None = None

    def pictures(self, times_s: NDArray[np.float64], tolerance_s: float) -> Iterator[Pixels]:
        """The frame at each of the increasing times, uint8 (h, w, 3); ends early where there is none within the tolerance."""
        for time_s in times_s:
            frame = self._frame(time_s / self._tick_s, tolerance_s / self._tick_s)
            if frame is None:
                return
            yield np.asarray(self._converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _frame(self, time: float, tolerance: float) -> VideoFrame | None:
        key = int(self._keys[max(np.searchsorted(self._keys, time + tolerance) - 1, 0)])
        if self._last is None or self._last[0] >= time + tolerance or key > self._last[0]:
            self._seek(key)
        found = self._forward_to(time - tolerance)
        if found is not None and found[0] >= time + tolerance and key > 0:
            self._seek(0)  # the index led past the frame, as it may where frames are stored in another order than shown
            found = self._forward_to(time - tolerance)
        return found[1] if found is not None and abs(found[0] - time) < tolerance else None

    def _seek(self, key: int) -> None:
        self._container.seek(self._origin + key, stream=self._stream)
        self._frames, self._last = self._from_here(), None

    def _from_here(self) -> Iterator[VideoFrame]:
        """All frames from where the file was set to. One walk over its packets lasts until its end: PyAV's, left half way, leak memory."""
        packet = next(self._packets, None)
        if packet is None:
            self._packets = self._container.demux(self._stream)
            packet = next(self._packets, None)
        while packet is not None:
            yield from self._stream.decode(packet)
            packet = next(self._packets, None)

    def _forward_to(self, least: float) -> tuple[int, VideoFrame] | None:
        """The first frame later than `least` ticks; the last one decoded where that is it. None where the file ends before."""
        while self._last is None or self._last[0] <= least:
            frame = next(self._frames, None)
            if frame is None:
                self._last = None
                return None
            if frame.pts is not None:
                self._last = frame.pts - self._origin, frame
        return self._last


def _key_frames(entries: object) -> NDArray[np.int64]:
    """Ticks of the frames from which decoding can start, counted from the first frame; that one alone where the file has no index."""
    listed = [(entry.timestamp, entry.is_keyframe) for entry in entries]  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
    if not listed:
        return np.zeros(1, np.int64)
    return np.array([time - listed[0][0] for time, is_key in listed if is_key] or [0], np.int64)
