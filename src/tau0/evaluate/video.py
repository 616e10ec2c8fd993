"""Frames to a small video that every browser plays, inside one page."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image

from tau0.contract import Pixels

Scaling = Literal["nearest", "lanczos"]


def side_by_side(frames: Pixels, gap: int = 0, fill: int = 0) -> Pixels:
    """Every view of each frame on one canvas: uint8 (t, v, h, w, 3) -> (t, h, v w + (v - 1) gap, 3)."""
    t, v, h, w, _ = frames.shape
    canvas = np.full((t, h, v * w + (v - 1) * gap, 3), fill, np.uint8)
    for i in range(v):
        canvas[:, :, i * (w + gap) : i * (w + gap) + w] = frames[:, i]
    return canvas


def upscaled(frames: Pixels, height: int, scaling: Scaling = "lanczos") -> Pixels:
    """Frames of uint8 (t, h, w, 3) at `height` pixels, never smaller than they were, with even sides as H.264 wants them."""
    t, h, w, _ = frames.shape
    scale = max(1.0, height / h)
    size = (_even(w * scale), _even(h * scale))
    if size == (w, h):
        return frames
    kernel = Image.Resampling.NEAREST if scaling == "nearest" else Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(frames[i]).resize(size, kernel)) for i in range(t)])


def encode_mp4(frames: Pixels, fps: float, *, height: int = 288, scaling: Scaling = "lanczos", quality: int = 23) -> bytes:
    """An H.264 film (yuv420p, index first) of uint8 frames (t, h, w, 3).

    Args:
        frames: At least one.
        fps: Frames a second, above 0.
        height: Smaller frames are enlarged to this many pixels.
        scaling: How they are enlarged: "nearest" keeps pixels square, "lanczos" smooths them.
        quality: The encoder's constant rate factor, 0 (lossless) to 51.

    Raises:
        ValueError: No frames, a wrong shape or dtype, or a rate that is not positive.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"a video is made of uint8 frames (t, h, w, 3) with t > 0, got {frames.dtype} {frames.shape}")
    if not fps > 0:
        raise ValueError(f"fps is {fps}, expected a positive number")
    pixels = upscaled(frames, height, scaling)
    with tempfile.TemporaryDirectory(prefix="tau0-video-") as folder:
        path = Path(folder) / "film.mp4"
        with av.open(path, "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=round(fps))
            stream.height, stream.width = pixels.shape[1:3]
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(quality), "preset": "medium", "tune": "animation", "g": "8", "threads": "1"}
            for image in pixels:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()


def data_uri(content: bytes, kind: str) -> str:
    """`content` of MIME type `kind` as an address that needs no server."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)
