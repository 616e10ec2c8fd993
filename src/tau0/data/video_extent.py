"""How far a video file can be read, found out without decoding it: a look at its head and at its last packets."""

from __future__ import annotations

from pathlib import Path

import av
import av.error

from tau0.data.catalogue import EpisodeInfo
from tau0.data.decode import video_stream
from tau0.data.description import SourceDescription
from tau0.data.info import DatasetError
from tau0.data.schema import image_key


class VideoExtents:
    """Asks each file once, however many episodes it holds."""

    def __init__(self) -> None:
        self._until_s: dict[Path, float] = {}

    def check(self, episode: EpisodeInfo, description: SourceDescription, fps: float) -> None:
        """Refuses an episode whose pictures, of a described camera, are not all there.

        Raises:
            DatasetError: When a file is missing or damaged, or ends before the episode does.
        """
        for camera in description.cameras.values():
            span = episode.videos.get(image_key(camera))
            if span is None:
                continue
            if span.path not in self._until_s:
                self._until_s[span.path] = readable_until(span.path)
            last_s = span.from_s + (episode.length - 1) / fps
            if last_s - 0.5 / fps >= self._until_s[span.path]:
                raise DatasetError(
                    f"{span.path} can be read up to {self._until_s[span.path]:.3f} s, "
                    f"the last frame of episode {episode.index} is at {last_s:.3f} s: the file is damaged, or too short"
                )


def readable_until(path: Path) -> float:
    """Seconds from the start of a file to the end of its last packet that is there.

    Raises:
        DatasetError: When the file is missing, or cannot be opened as a video.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the dataset is incomplete")
    try:
        # A file that was cut off still announces all its frames; what lies behind the cut yields no packet when it is sought.
        return _last_packet_s(path, from_end=True) or _last_packet_s(path, from_end=False)
    except av.error.FFmpegError as error:
        raise DatasetError(f"{path} is damaged: it cannot be opened ({error.strerror})") from error


def _last_packet_s(path: Path, *, from_end: bool) -> float:
    """The end of the last whole packet, in seconds; 0 where there is none."""
    with av.open(str(path)) as container:
        stream = video_stream(path, container)
        time_base, origin = float(stream.time_base or 0), stream.start_time or 0
        if from_end and stream.duration:
            container.seek(origin + stream.duration, stream=stream)
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt and packet.pts is not None)
        return max(((packet.pts or 0) - origin + (packet.duration or 0) for packet in packets), default=0) * time_base
