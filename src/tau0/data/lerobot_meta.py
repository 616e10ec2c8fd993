"""The fixed parts of a LeRobot v3.0 dataset: what `info.json`, `tasks.parquet` and the data files' schema say."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from tau0.contract import Embodiment
from tau0.data import schema
from tau0.data.video_writer import CODEC, PIXEL_FORMAT

_DATA_FILE_MB = 100
_VIDEO_FILE_MB = 200
_CHUNKS_SIZE = 1000
_SCALARS = {
    schema.PROGRESS: "float32",
    schema.NEXT_SUCCESS: "bool",
    schema.NEXT_DONE: "bool",
    schema.TIMESTAMP: "float32",
    schema.FRAME_INDEX: "int64",
    schema.EPISODE_INDEX: "int64",
    schema.INDEX: "int64",
    schema.TASK_INDEX: "int64",
}


def features(embodiment: Embodiment) -> dict[str, dict[str, Any]]:
    """The features of `info.json`, in order: cameras, state, actions, then single numbers."""
    fps = _whole(embodiment.control_hz)
    cameras = {
        schema.image_key(camera.name): {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": camera.height,
                "video.width": camera.width,
                "video.codec": CODEC,
                "video.pix_fmt": PIXEL_FORMAT,
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }
        for camera in embodiment.cameras
    }
    lists = {schema.STATE: embodiment.state_names, schema.ACTION: embodiment.action.names, schema.EXPERT_ACTION: embodiment.action.names}
    vectors = {name: {"dtype": "float32", "shape": [len(names)], "names": list(names)} for name, names in lists.items()}
    scalars = {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in _SCALARS.items()}
    return cameras | vectors | scalars


def info(embodiment: Embodiment, *, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """The contents of `info.json`."""
    return {
        "codebase_version": schema.CODEBASE_VERSION,
        "robot_type": embodiment.name,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": _CHUNKS_SIZE,
        "data_files_size_in_mb": _DATA_FILE_MB,
        "video_files_size_in_mb": _VIDEO_FILE_MB,
        "fps": _whole(embodiment.control_hz),
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features(embodiment),
    }


def data_schema(embodiment: Embodiment) -> pa.Schema:
    """The columns of a data file, with the description that Hugging Face's `datasets` reads."""
    fields, described = [], {}
    for name, feature in features(embodiment).items():
        if feature["dtype"] == "video":
            continue
        value = {"dtype": feature["dtype"], "_type": "Value"}
        is_list = feature["names"] is not None
        described[name] = {"feature": value, "length": feature["shape"][0], "_type": "List"} if is_list else value
        kind = pa.type_for_alias(feature["dtype"])
        fields.append(pa.field(name, pa.list_(kind, feature["shape"][0]) if is_list else kind))
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": described}})})


def tasks_table(instructions: list[str]) -> pa.Table:
    """Task index by instruction, in the layout that pandas reads back with the instructions as its index."""
    index = "__index_level_0__"
    columns = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ]
    labels = [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}]
    pandas = {"index_columns": [index], "column_indexes": labels, "columns": columns, "creator": {"library": "pyarrow"}}
    table = pa.table({"task_index": pa.array(range(len(instructions)), pa.int64()), index: pa.array(instructions, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _whole(rate: float) -> float | int:
    return int(rate) if rate == int(rate) else rate
