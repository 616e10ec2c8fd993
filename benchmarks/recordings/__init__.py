"""Recordings of any length in no time: numbers are made up, and one short video is every episode's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tau0.contract import ActionSpec, Camera, Embodiment
from tau0.data.lerobot_meta import data_schema, info, tasks_table
from tau0.data.schema import ACTION, EXPERT_ACTION, PROGRESS, STATE, image_key
from tau0.data.video_writer import VideoWriter

EPISODES_A_FILE = 100
NAMES = ("x", "y", "z", "gripper")


def arm(size: int, hz: float = 80.0) -> Embodiment:
    """The robot that is recorded: Meta-World's numbers and cameras, pictures of size x size."""
    return Embodiment(
        name="made-up arm",
        cameras=(Camera(name="front", height=size, width=size), Camera(name="wrist", height=size, width=size)),
        state_names=NAMES,
        action=ActionSpec(names=NAMES, low=(-1.0,) * 4, high=(1.0,) * 4, gripper=(3,)),
        control_hz=hz,
        action_horizon=17,
        frame_stride=8,
    )


def write_recording(root: Path, *, episodes: int, length: int, size: int = 64) -> Path:
    """A LeRobot v3.0 dataset of `episodes` times `length` rows that the description "metaworld" fits. Returns its folder."""
    robot = arm(size)
    rng = np.random.default_rng(episodes)
    _write_video(root, robot, length)
    for file, first in enumerate(range(0, episodes, EPISODES_A_FILE)):
        numbers = range(first, min(first + EPISODES_A_FILE, episodes))
        path = root / f"data/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, data_schema(robot)) as writer:
            for number in numbers:
                writer.write_table(_rows(number, length, robot, rng))
    _write_meta(root, episodes, length, robot)
    return root


def _write_video(root: Path, robot: Embodiment, length: int) -> None:
    """Smooth pictures that move, with some noise, so that they are no easier to decode than a camera's."""
    rng = np.random.default_rng(0)
    for camera in robot.cameras:
        path = root / f"videos/{image_key(camera.name)}/chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True)
        rows, columns = np.mgrid[: camera.height, : camera.width] / camera.width
        with VideoWriter(path, camera.height, camera.width, robot.control_hz) as video:
            for t in range(length):
                waves = np.stack([np.sin(5 * rows + t / 9), np.cos(7 * columns - t / 13), np.sin(4 * (rows + columns) + t / 5)], axis=-1)
                picture = 128 + 90 * waves + rng.normal(0, 4, waves.shape)
                video.append(picture.clip(0, 255).astype(np.uint8)[None])


def _rows(number: int, length: int, robot: Embodiment, rng: np.random.Generator) -> pa.Table:
    schema, frame = data_schema(robot), np.arange(length)
    walk = np.cumsum(rng.normal(0, 0.05, (length, 4)), axis=0).astype(np.float32)
    columns = {
        STATE: walk,
        ACTION: rng.normal(0, 0.5, (length, 4)).clip(-1, 1).astype(np.float32),
        EXPERT_ACTION: rng.normal(0, 0.5, (length, 4)).clip(-1, 1).astype(np.float32),
        PROGRESS: np.linspace(-1, 1, length, dtype=np.float32),
        "next.success": frame == length - 1,
        "next.done": frame == length - 1,
        "timestamp": (frame / robot.control_hz).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, number),
        "index": number * length + frame,
        "task_index": np.zeros(length, np.int64),
    }
    return pa.table([pa.array(list(columns[field.name]), field.type) for field in schema], schema=schema)


def _write_meta(root: Path, episodes: int, length: int, robot: Embodiment) -> None:
    meta = root / "meta"
    (meta / "episodes/chunk-000").mkdir(parents=True)
    numbers = np.arange(episodes)
    columns = {
        "episode_index": numbers,
        "tasks": [["reach the ball"]] * episodes,
        "length": np.full(episodes, length),
        "data/chunk_index": np.zeros(episodes, np.int64),
        "data/file_index": numbers // EPISODES_A_FILE,
    }
    for camera in robot.cameras:
        span = {"chunk_index": 0, "file_index": 0, "from_timestamp": 0.0, "to_timestamp": length / robot.control_hz}
        columns |= {f"videos/{image_key(camera.name)}/{name}": [value] * episodes for name, value in span.items()}
    pq.write_table(pa.table(columns), meta / "episodes/chunk-000/file-000.parquet")
    pq.write_table(tasks_table(["reach the ball"]), meta / "tasks.parquet")
    (meta / "info.json").write_text(json.dumps(info(robot, episodes=episodes, frames=episodes * length, tasks=1)))
