"""A dataset of four made-up episodes seen through a description, and how its files are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fake_v2 import DATA_PATH

from tau0.data.aligned import AlignedSource
from tau0.data.description import SourceDescription
from tau0.data.descriptions import METAWORLD as PRESET
from tau0.data.episodes import Dataset
from tau0.data.layout import METAWORLD

FAKE = SourceDescription(
    name="fake",
    kind="teleoperation",
    embodiment="fake arm",
    cameras={"front": "front"},
    state=PRESET.state,
    action=PRESET.action,
    supervises={"video": 1.0, "action": 1.0, "progress": 1.0},
    success="all",
)


def opened(root: Path, description: SourceDescription = FAKE, rate_hz: float = 10.0, **options: Any) -> AlignedSource:
    return AlignedSource.open(Dataset.open(root), description, METAWORLD, rate_hz, **options)


def rewrite(root: Path, episode: int, **columns: Any) -> None:
    """Replaces columns of one episode's file."""
    path = root / DATA_PATH.format(episode_chunk=0, episode_index=episode)
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(np.asarray(values).tolist()))
    pq.write_table(table, path)
