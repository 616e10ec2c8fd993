"""The doctor with a description at hand: units by what the columns are said to be, not by their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_v2 import DATA_PATH, write_v2

from tau0.data.description import Numbers, Pose, SourceDescription
from tau0.data.descriptions import PRESETS
from tau0.data.doctor.diagnosis import Diagnosis, grouped
from tau0.data.doctor.examine import ExamineSpec, examine
from tau0.data.schema import EpisodeRecord

OURS = {"metaworld", "two_arm"}  # collected by ourselves
QUICK = ExamineSpec(max_videos=0, num_shown=0)


def pose(feature: str, scale: float = 1.0) -> Pose:
    """Four numbers are all that a fake robot has: the rotation is made of the position's."""
    numbers = Numbers(feature=feature, at=(0, 1, 2), scale=scale)
    return Pose(position=numbers, rotation=numbers, form="rotation_vector")


ARM = SourceDescription(
    name="arm",
    kind="teleoperation",
    embodiment="arm",
    cameras={"head": "front"},
    state={"right_pose": pose("observation.state")},
    action={"right_pose": pose("action")},
)


def errors(diagnosis: Diagnosis) -> list[tuple[str, tuple[int, ...]]]:
    return [(group.finding.what, group.episodes) for group in grouped(diagnosis.findings) if group.finding.severity == "error"]


@pytest.fixture
def arm(tmp_path: Path) -> Path:
    """Slow movements within reach, in columns whose names say nothing."""
    records = []
    for seed in range(3):
        record = EpisodeRecord.fake(40, seed)
        path = np.cumsum(np.random.default_rng(seed).normal(size=(40, 4)) * 0.01, axis=0).astype(np.float32) + 0.4
        records.append(replace(record, state=path, action=path + 0.002))
    root = write_v2(tmp_path / "arm", records)
    info = root / "meta/info.json"
    info.write_text(info.read_text().replace('"x", "y", "z", "gripper"', '"a", "b", "c", "d"'))
    return root


def multiply(root: Path, episode: int, factor: float, *features: str) -> None:
    path = root / DATA_PATH.format(episode_chunk=0, episode_index=episode)
    table = pq.read_table(path)
    for feature in features:
        numbers = np.array(table[feature].to_pylist()) * factor
        table = table.set_column(table.schema.get_field_index(feature), feature, pa.array(numbers.tolist()))
    pq.write_table(table, path)


def test_what_is_as_described_passes(arm: Path) -> None:
    assert errors(examine(arm, QUICK, description=ARM)) == []


def test_millimetres_in_columns_of_any_name(arm: Path) -> None:
    """Without the description nothing can be said: the names are a, b, c, d, and state and action agree."""
    multiply(arm, 1, 1000, "observation.state", "action")
    assert errors(examine(arm, QUICK)) == []
    found = errors(examine(arm, QUICK, description=ARM))
    assert found[0][0].startswith("'observation.state' at 0, 1, 2 (right_pose) as a position in metres lies between ")
    assert found[0][0].endswith(", expected within 3 m: millimetres?")
    assert {episodes for _, episodes in found} == {(1,)}


def test_millimetres_that_are_described_as_such_pass(arm: Path) -> None:
    """Also where the numbers' names would make one think otherwise."""
    info = arm / "meta/info.json"
    info.write_text(info.read_text().replace('"a", "b", "c", "d"', '"x", "y", "z", "gripper"'))
    for episode in range(3):
        multiply(arm, episode, 1000, "action")
    assert len(errors(examine(arm, QUICK))) == 2
    assert errors(examine(arm, QUICK, description=replace(ARM, action={"right_pose": pose("action", 0.001)}))) == []


def test_degrees_and_a_hand_that_is_too_fast(arm: Path) -> None:
    joints = replace(ARM, state={"left_arm": Numbers(feature="observation.state", at=(0, 1, 2), scale=60)}, action={})
    found = errors(examine(arm, QUICK, description=joints))
    assert len(found) == 1
    assert "(left_arm) as angles in radians lies between" in found[0][0]
    assert found[0][0].endswith("degrees?")
    rng = np.random.default_rng(0)
    path = arm / DATA_PATH.format(episode_chunk=0, episode_index=0)
    table = pq.read_table(path)
    jumping = pa.array(rng.uniform(-2.5, 2.5, (40, 4)).tolist())
    pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", jumping), path)
    found = errors(examine(arm, QUICK, description=ARM))
    assert len(found) == 1
    assert "(right_pose) moves at " in found[0][0]


def test_another_dataset_than_the_one_described(arm: Path) -> None:
    found = errors(examine(arm, QUICK, description=PRESETS["droid_v30"]))
    assert len(found) == 1
    assert "is not what 'droid_v30' describes: it has no feature 'is_episode_successful'" in found[0][0]


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in OURS])
def test_real_recordings_are_in_the_units_described(shared: Path, name: str) -> None:
    assert errors(examine(shared / name, QUICK, description=PRESETS[name])) == []
