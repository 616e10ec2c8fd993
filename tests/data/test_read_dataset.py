from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tau0.contract import ActionSpec, Camera, ContractError, Embodiment
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.schema import EpisodeRecord


def test_what_was_written_is_read_back(recorded: Path, records: tuple[EpisodeRecord, ...]) -> None:
    dataset = Dataset.open(recorded)
    assert dataset.fps == 10
    assert dataset.cameras == ("front", "wrist")
    assert [episode.length for episode in dataset.episodes] == [20, 17, 9, 12]
    assert [(episode.start, episode.stop) for episode in dataset.episodes] == [(0, 20), (20, 37), (37, 46), (46, 58)]
    for episode, record in zip(dataset.episodes, (records[0], records[2], records[3], records[1]), strict=True):
        assert episode.instruction == record.meta.instruction
        for name in ("task", "kind", "success", "seed", "branch", "behaviour", "group", "parent", "parent_frame", "remaining"):
            assert getattr(episode, name) == getattr(record.meta, name), name
        table = dataset.table(episode)
        np.testing.assert_array_equal(table["observation.state"], record.state)
        np.testing.assert_array_equal(table["action"], record.action)
        np.testing.assert_array_equal(table["action.expert"], record.expert_action)
        np.testing.assert_array_equal(table["progress"], record.progress)
        np.testing.assert_array_equal(table["next.success"], record.next_success)
        assert dataset.instruction(table) == record.meta.instruction
        for camera in dataset.cameras:
            frames = dataset.frames(episode, camera)
            assert frames.dtype == np.uint8
            assert frames.shape == record.images[camera].shape
            assert np.abs(frames.astype(int) - record.images[camera]).mean() < 3


def test_columns_run_over_the_global_rows(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    columns = dataset.columns(("action", "progress"))
    assert columns["action"].shape == (dataset.num_rows, 4)
    assert columns["progress"].shape == (dataset.num_rows,)
    for episode in dataset.episodes:
        np.testing.assert_array_equal(columns["action"][episode.start : episode.stop], dataset.table(episode)["action"])


def test_frames_of_a_long_row_of_episodes_do_not_drift(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    last_in_file = dataset.episodes[2]
    brightness = dataset.frames(last_in_file, "front").mean((1, 2, 3))
    assert np.round(np.diff(brightness), 0).tolist() == [1] * 8


def test_unknown_names_suggest_the_right_one(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    with pytest.raises(DatasetError, match=r"no camera 'wirst' \(did you mean 'wrist'\?\); it has front, wrist"):
        dataset.frames(dataset.episodes[0], "wirst")
    with pytest.raises(DatasetError, match=r"no feature 'actoin' \(did you mean 'action'\?\)"):
        dataset.columns(("actoin",))


def test_a_dataset_of_the_contract_is_accepted(recorded: Path, embodiment: Embodiment) -> None:
    Dataset.open(recorded).check_against(embodiment)
    Dataset.open(recorded).check_against(replace(embodiment, cameras=embodiment.cameras[1:]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": (Camera(name="top", height=32, width=32),)}, "cameras lacks 'top', it has front, wrist"),
        ({"cameras": (Camera(name="front", height=48, width=32),)}, r"cameras 'front' is \(32, 32, 3\), expected \(48, 32, 3\)"),
        ({"state_names": ("x", "y")}, r"state_names has shape \(4,\), expected \(2,\): x, y"),
        ({"state_names": ("x", "z", "y", "gripper")}, "state_names is x, y, z, gripper; expected x, z, y, gripper"),
        ({"action": ActionSpec(names=("x",), low=(0.0,), high=(1.0,))}, r"action has shape \(4,\), expected \(1,\): x"),
        ({"control_hz": 30.0}, "control_hz is 10, expected 30"),
    ],
)
def test_a_dataset_of_another_robot_is_refused(recorded: Path, embodiment: Embodiment, change: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        Dataset.open(recorded).check_against(replace(embodiment, **change))


def test_a_robot_without_recorded_actions_is_refused(shared: Path, embodiment: Embodiment) -> None:
    dataset = Dataset.open(shared / "droid_video_only_v30")
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    with pytest.raises(ContractError, match="action needs the feature 'action', which the dataset does not have"):
        dataset.check_against(replace(embodiment, cameras=(), state_names=names))


def test_missing_files_are_named(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    episode = dataset.episodes[0]
    video = episode.videos["observation.images.front"].path
    video.unlink()
    with pytest.raises(DatasetError, match=f"{video} is missing"):
        dataset.frames(episode, "front")
    episode.data_path.unlink()
    with pytest.raises(DatasetError, match=f"{episode.data_path} is missing"):
        Dataset.open(recorded).table(episode)
    (recorded / "meta/tasks.parquet").unlink()
    with pytest.raises(DatasetError, match=r"tasks.parquet is missing"):
        Dataset.open(recorded)


def test_a_missing_column_is_named(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    path = dataset.episodes[0].data_path
    pq.write_table(pq.read_table(path).drop_columns(["progress"]), path)
    with pytest.raises(DatasetError, match=r"lacks the feature progress, which meta/info.json declares"):
        dataset.table(dataset.episodes[0])


def test_a_video_that_ends_early_is_named(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    episode, other = dataset.episodes[1], dataset.episodes[3]
    short, long = (e.videos["observation.images.front"].path for e in (other, episode))
    long.write_bytes(short.read_bytes())
    with pytest.raises(DatasetError, match=r"file-000.mp4 has no frame at 2.000 s: it gives 0 of the episode's 17 frames"):
        dataset.frames(episode, "front")


@pytest.mark.parametrize("version", ["v1.6", "v4.0", None])
def test_another_version_is_refused(recorded: Path, version: str | None) -> None:
    path = recorded / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"codebase_version": version}))
    with pytest.raises(DatasetError, match=r"info.json says codebase_version .*, expected one of 'v3.0', 'v2.1', 'v2.0'"):
        Dataset.open(recorded)


def test_a_garbled_info_is_refused(recorded: Path) -> None:
    path = recorded / "meta/info.json"
    whole = path.read_text()
    path.write_text(whole[:100])
    with pytest.raises(DatasetError, match=r"info.json is not valid JSON"):
        Dataset.open(recorded)
    path.write_text("[]")
    with pytest.raises(DatasetError, match="must hold a JSON object, got list"):
        Dataset.open(recorded)
    path.write_text('{"codebase_version": "v3.0"}')
    with pytest.raises(DatasetError, match="lacks or garbles a field"):
        Dataset.open(recorded)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        Dataset.open(tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"info.json is missing"):
        Dataset.open(tmp_path)
