"""Datasets that we did not write: real robots, and one fault each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tau0.data.episodes import Dataset, DatasetError
from tau0.data.windows import Windows, WindowSpec

EXPECTED = {
    "truncated_mp4": r"observation.images.wrist/chunk-000/file-000.mp4 is damaged: frame 0 of 33",
    "truncated_mp4_index_first": r"observation.images.wrist/chunk-000/file-000.mp4 is damaged: frame 19 of 33",
    "nan_action": r"file-000.parquet, episode 0: action is not finite in 2 rows of z: 10, 11",
    "fewer_rows_than_frames": r"file-000.parquet has 28 rows of episode 0, the list of episodes says 33 frames",
    "missing_info": r"meta/info.json is missing",
    "wrong_state_dim": r"feature 'observation.state' has 6 numbers a row, meta/info.json says 7",
    "non_monotonic_timestamps": r"episode 0: time does not advance at row 16: 3.200 s is followed by 3.000 s",
    "unknown_task_index": r"task_index 5 is not in meta/tasks.parquet, which has 0",
}


def read_everything(root: Path) -> int:
    """Reads every row and picture. Returns how many pictures there were."""
    dataset = Dataset.open(root)
    return sum(len(dataset.frames(episode, camera)) for episode in dataset.episodes for camera in dataset.cameras)


def test_a_real_robots_episodes(shared: Path) -> None:
    dataset = Dataset.open(shared / "droid_v30")
    assert (len(dataset), dataset.num_rows, dataset.fps) == (11, 854, 5)
    assert dataset.cameras == ("exterior_1", "exterior_2", "wrist")
    assert [e.instruction for e in dataset.episodes[:2]] == ["", "Put the blue block in the green bowl"]
    assert all(e.kind == "demonstration" and e.success is None and e.parent == -1 for e in dataset.episodes)
    assert dataset.columns(("action",))["action"].shape == (854, 7)
    windows = Windows(dataset.episodes, WindowSpec())
    assert windows.resolve(np.arange(854)).action_mask[:, 0].all()


@pytest.mark.parametrize("camera", ["exterior_1", "wrist"])
def test_pictures_of_an_episode_that_starts_within_a_file(shared: Path, camera: str) -> None:
    dataset = Dataset.open(shared / "droid_v30")
    episode = dataset.episodes[7]
    frames = dataset.frames(episode, camera)
    assert frames.shape == (episode.length, 192, 320, 3)
    assert frames.std() > 20


def test_every_fault_is_listed_here(shared: Path) -> None:
    faults = json.loads((shared / "corrupt/faults.json").read_text())["faults"]
    assert {fault["dataset"] for fault in faults} == set(EXPECTED)


def test_the_sound_copy_reads(shared: Path) -> None:
    assert read_everything(shared / "corrupt/control") == 3 * 33


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_is_named(shared: Path, fault: str) -> None:
    with pytest.raises(DatasetError, match=EXPECTED[fault]):
        read_everything(shared / "corrupt" / fault)
