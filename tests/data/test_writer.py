"""What is written is LeRobot v3.0, is read back as it was, and is either complete or absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tau0.contract import ActionSpec, Camera, Embodiment
from tau0.data import assemble as assembling
from tau0.data import schema
from tau0.data.assemble import assemble, is_assembled
from tau0.data.episodes import Dataset
from tau0.data.feature_stats import image_stats, number_stats, pooled_stats
from tau0.data.schema import EpisodeRecord
from tau0.data.writer import STAGING, UnitWriter, remove_partial_units, unit_path

ROBOT = Embodiment(
    name="test-robot",
    cameras=(Camera(name="front", height=32, width=32), Camera(name="wrist", height=32, width=32)),
    state_names=("x", "y", "z", "gripper"),
    action=ActionSpec(names=("dx", "dy", "dz", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, gripper=(3,)),
    control_hz=80.0,
    action_horizon=17,
    frame_stride=8,
)


def branch_of(record: EpisodeRecord, parent: int, group: int) -> EpisodeRecord:
    meta = replace(record.meta, kind="branch", branch="wrong", parent=parent, parent_frame=3, group=group)
    return replace(record, meta=meta)


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """Two units: an episode and its branch, and again."""
    for number in range(2):
        with UnitWriter(tmp_path, f"unit-{number}", ROBOT) as writer:
            parent = writer.add(EpisodeRecord.fake(steps=20 + number, seed=2 * number))
            writer.add(branch_of(EpisodeRecord.fake(steps=17, seed=2 * number + 1), parent, group=0))
    return ["unit-0", "unit-1"]


@pytest.fixture
def dataset(tmp_path: Path, units: list[str]) -> Dataset:
    assemble(tmp_path, units, ROBOT, {"collect.json": "{}"})
    return Dataset.open(tmp_path)


def test_rows_come_back_as_they_were(dataset: Dataset) -> None:
    assert [episode.length for episode in dataset.episodes] == [20, 17, 21, 17]
    for seed, episode in enumerate(dataset.episodes):
        record, table = EpisodeRecord.fake(steps=episode.length, seed=seed), dataset.table(episode)
        np.testing.assert_array_equal(table[schema.STATE], record.state)
        np.testing.assert_array_equal(table[schema.ACTION], record.action)
        np.testing.assert_array_equal(table[schema.EXPERT_ACTION], record.expert_action)
        np.testing.assert_array_equal(table[schema.PROGRESS], record.progress)
        np.testing.assert_array_equal(table[schema.NEXT_SUCCESS], record.next_success)
        np.testing.assert_array_equal(table[schema.NEXT_DONE], record.next_done)
        np.testing.assert_array_equal(table[schema.FRAME_INDEX], np.arange(episode.length))


def test_pictures_come_back_in_their_places(dataset: Dataset) -> None:
    for seed, episode in enumerate(dataset.episodes):
        record = EpisodeRecord.fake(steps=episode.length, seed=seed)
        for camera in ("front", "wrist"):
            frames = dataset.frames(episode, camera).astype(float)
            assert np.abs(frames - record.images[camera]).mean() < 2.0


def test_numbers_count_through_the_whole_dataset(dataset: Dataset) -> None:
    index = np.concatenate([dataset.table(episode)[schema.INDEX] for episode in dataset.episodes])
    np.testing.assert_array_equal(index, np.arange(75))
    rows = pq.read_table(dataset.root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row[schema.EPISODE_PARENT] for row in rows] == [-1, 0, -1, 2]
    assert [row[schema.EPISODE_GROUP] for row in rows] == [-1, 0, -1, 1]
    assert [row[schema.EPISODE_PARENT_FRAME] for row in rows] == [-1, 3, -1, 3]
    assert [row["dataset_from_index"] for row in rows] == [0, 20, 37, 58]


def test_info_and_columns_are_those_of_lerobot(dataset: Dataset) -> None:
    info = json.loads((dataset.root / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", 80, 4, 75)
    assert info["total_tasks"] == len(dataset.tasks) == 2
    for key in ("chunks_size", "data_files_size_in_mb", "video_files_size_in_mb", "data_path", "video_path", "splits", "robot_type"):
        assert key in info
    columns = pq.read_schema(dataset.root / "meta/episodes/chunk-000/file-000.parquet").names
    places = ["chunk_index", "file_index", "from_timestamp", "to_timestamp"]
    wanted = [f"videos/{schema.image_key(camera)}/{place}" for camera in dataset.cameras for place in places]
    wanted += [f"stats/{name}/{stat}" for name in info["features"] for stat in ("min", "max", "mean", "std", "count", "q01", "q99")]
    wanted += ["tasks", "length", "data/chunk_index", "data/file_index", "meta/episodes/chunk_index", "meta/episodes/file_index"]
    assert set(wanted) <= set(columns)
    data = pq.read_schema(dataset.root / "data/chunk-000/file-000.parquet")
    assert str(data.field(schema.STATE).type) == "fixed_size_list<element: float>[4]"
    assert b"huggingface" in data.metadata
    assert b"pandas" in pq.read_schema(dataset.root / "meta/tasks.parquet").metadata


def test_the_dataset_fits_the_robot_it_was_recorded_with(dataset: Dataset) -> None:
    dataset.check_against(ROBOT)


def test_a_unit_that_breaks_off_does_not_exist(tmp_path: Path) -> None:
    def interrupted() -> None:
        with UnitWriter(tmp_path, "unit", ROBOT) as writer:
            writer.add(EpisodeRecord.fake())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / STAGING).iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path, units: list[str]) -> None:
    (tmp_path / STAGING / "unit-9.partial").mkdir()
    remove_partial_units(tmp_path)
    assert sorted(path.name for path in (tmp_path / STAGING).iterdir()) == units


def test_a_crash_while_assembling_leaves_no_dataset_and_can_be_repeated(
    tmp_path: Path, units: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(assembling, "_write_meta", crash)
        with pytest.raises(OSError, match="no space"):
            assemble(tmp_path, units, ROBOT)
    assert not is_assembled(tmp_path)
    assert unit_path(tmp_path, units[0]).is_dir()
    assemble(tmp_path, units, ROBOT)
    assert len(Dataset.open(tmp_path)) == 4
    assert not (tmp_path / STAGING).exists()


def test_an_episode_with_other_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cameras"), UnitWriter(tmp_path, "unit", ROBOT) as writer:
        writer.add(EpisodeRecord.fake(cameras=("front", "left")))


def test_an_episode_of_unequal_lengths_is_refused() -> None:
    record = EpisodeRecord.fake(steps=5)
    with pytest.raises(ValueError, match="episode of 5 states has 4 of action"):
        replace(record, action=record.action[:4])


def test_pooled_statistics_are_those_of_the_union() -> None:
    parts = [np.random.default_rng(n).normal(n, 1 + n, (10 + n, 3)) for n in range(4)]
    pooled, whole = pooled_stats([number_stats(part) for part in parts]), number_stats(np.concatenate(parts))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(pooled[name], whole[name], rtol=1e-9)


def test_statistics_of_pictures_are_per_colour_between_zero_and_one() -> None:
    stats = image_stats(EpisodeRecord.fake(steps=40).images["front"])
    assert np.shape(stats["mean"]) == (3, 1, 1)
    assert stats["count"] == [16]
    assert 0 <= np.min(stats["min"]) <= np.max(stats["max"]) <= 1
