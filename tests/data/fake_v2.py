"""Writes datasets of LeRobot v2.1 as they are found: a file of rows and one per camera for every episode."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.video.stream import VideoStream

from tau0.contract import Pixels
from tau0.data.schema import EpisodeRecord
from tau0.data.video_writer import VideoWriter

FPS = 10
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write_v2(
    root: Path, records: Sequence[EpisodeRecord], first: int = 0, offset_s: float = 0.0, pictures: str = "video", **info: Any
) -> Path:
    """A dataset of `records` with the camera "front", numbered from `first`, whose timestamps start at `offset_s`."""
    (root / "meta").mkdir(parents=True)
    numbers = {"shape": [4], "names": [["x", "y", "z", "gripper"]]}
    features = {
        "observation.images.front": {"dtype": pictures, "shape": [32, 32, 3], "names": ["height", "width", "channel"]},
        "observation.state": {"dtype": "float64", **numbers},
        "action": {"dtype": "float32", **numbers},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    summary = {"codebase_version": "v2.1", "fps": FPS, "features": features, "data_path": DATA_PATH, "video_path": VIDEO_PATH}
    (root / "meta/info.json").write_text(json.dumps(summary | info))
    write_lines(root / "meta/tasks.jsonl", [{"task_index": 0, "task": "reach the ball"}])
    episodes = [{"episode_index": first + i, "tasks": ["reach the ball"], "length": len(record)} for i, record in enumerate(records)]
    write_lines(root / "meta/episodes.jsonl", episodes)
    for i, record in enumerate(records):
        _write_episode(root, first + i, record, offset_s, pictures)
    return root


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def png(pixels: Pixels) -> bytes:
    """One picture as a PNG file."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _write_episode(root: Path, index: int, record: EpisodeRecord, offset_s: float, pictures: str) -> None:
    place: dict[str, Any] = {"episode_chunk": index // 1000, "episode_index": index}
    columns: dict[str, Any] = {
        "observation.state": record.state.astype(np.float64).tolist(),
        "action": record.action.tolist(),
        "timestamp": (offset_s + np.arange(len(record)) / FPS).astype(np.float32),
        "task_index": np.zeros(len(record), np.int64),
    }
    if pictures == "image":
        columns["observation.images.front"] = [{"bytes": png(pixels), "path": None} for pixels in record.images["front"]]
    else:
        path = root / VIDEO_PATH.format(**place, video_key="observation.images.front")
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, 32, 32, FPS) as video:
            video.append(record.images["front"])
    path = root / DATA_PATH.format(**place)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
