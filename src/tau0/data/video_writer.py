"""Writes one camera's frames as an h264 file that can be read at random: every second frame is a key frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.video.stream import VideoStream

from tau0.contract import Pixels

CODEC = "h264"
PIXEL_FORMAT = "yuv444p"
GROUP_OF_PICTURES = 2
# Without x264's macroblock tree: with it, equal frames gave other bytes in up to 7% of encodings, depending on what the process had encoded
# before (memory that is read unwritten, it seems); without it never in 2,000. Files are about 15% larger.
_QUALITY = {"crf": "10", "preset": "veryfast", "bf": "0", "x264-params": "chroma-qp-offset=-6:mbtree=0"}


class VideoWriter:
    """Appends frames to an mp4 file. Colour is kept at full resolution, because targets are a few pixels wide."""

    def __init__(self, path: Path, height: int, width: int, fps: float) -> None:
        """Opens `path` for writing frames of (height, width, 3), even numbers both, at `fps` frames a second."""
        rate = Fraction(fps).limit_denominator(1000)
        self._container = av.open(str(path), "w", format="mp4")
        stream = self._container.add_stream("libx264", rate=rate, options=_QUALITY)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
        stream.gop_size = GROUP_OF_PICTURES
        stream.codec_context.thread_count = 1
        self._stream = stream

    def append(self, frames: Pixels) -> None:
        """Encodes uint8 frames of shape (t, height, width, 3)."""
        for pixels in frames:
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))

    def close(self) -> None:
        """Writes what the encoder still holds, and the file's index."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._container.close()
