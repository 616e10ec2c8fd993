"""Other people's recordings seen through their descriptions, and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tau0.data.aligned import AlignedSource
from tau0.data.descriptions import PRESETS
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.layout import DUAL_ARM, HUMANOID


def test_droid(shared: Path, tmp_path: Path) -> None:
    source = AlignedSource.open(Dataset.open(shared / "droid_v30"), PRESETS["droid_v30"], HUMANOID, 5, cache=tmp_path)
    dataset = source.dataset
    assert source.quarantined == ()
    assert source.num_rows == 854
    assert [episode.kind for episode in source.episodes] == ["demonstration"] * 4 + ["failure"] * 7
    columns = dataset.columns(["observation.state", "action"])
    np.testing.assert_array_equal(source.state[:, HUMANOID.span("right_pose")][:, :3], columns["observation.state"][:, :3])
    np.testing.assert_array_equal(source.action[:, HUMANOID.span("right_gripper")][:, 0], columns["action"][:, 6])
    columns_of = source.state[:, HUMANOID.span("right_pose")][:, 3:].reshape(-1, 2, 3)
    np.testing.assert_allclose(columns_of @ columns_of.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (854, 2, 2)), atol=1e-6)
    assert source.state_mask.sum() == source.action_mask.sum() == 10
    assert source.progress_mask.all()
    assert source.progress[source.episodes[3].stop - 1] == 1
    assert "" in source.texts
    fast = AlignedSource.open(dataset, PRESETS["droid_v30"], HUMANOID, 30, cache=tmp_path)
    steps = np.concatenate([np.abs(np.diff(fast.state[e.start : e.stop], axis=0)).max(0, keepdims=True) for e in fast.episodes])
    assert steps[:, HUMANOID.span("right_pose")][:, 3:].max() < 0.15, "roll passes pi in nine episodes, and no rotation jumps"


@pytest.mark.parametrize("name", ["droid_video_only_v30", "g1_v21", "g1_v21_renumbered", "gr00t_sim_v20"])
def test_other_real_robots(shared: Path, tmp_path: Path, name: str) -> None:
    dataset = Dataset.open(shared / name)
    source = AlignedSource.open(dataset, PRESETS[name], HUMANOID, dataset.fps, cache=tmp_path)
    assert source.quarantined == ()
    assert [episode.length for episode in source.episodes] == [episode.length for episode in dataset.episodes]
    assert source.action_mask.sum() == (0 if name == "droid_video_only_v30" else 26)
    assert source.progress_mask.all() == (not name.startswith("g1"))
    assert (source.frames == np.concatenate([np.arange(episode.length) for episode in dataset.episodes])).all()


CORRUPT = {
    "nan_action": "action is not finite in 2 rows of z: 10, 11",
    "fewer_rows_than_frames": "has 28 rows of episode 0",
    "wrong_state_dim": "has 6 numbers a row",
    "non_monotonic_timestamps": "time does not advance at row 16",
    "unknown_task_index": "task_index 5 is not in",
    "truncated_mp4": "wrist/chunk-000/file-000.mp4 is damaged: it cannot be opened",
    "truncated_mp4_index_first": "wrist/chunk-000/file-000.mp4 can be read up to 4.000 s, the last frame of episode 0 is at 6.400 s",
}


@pytest.mark.parametrize("fault", CORRUPT)
def test_a_corrupt_recording_is_refused_with_its_reason(shared: Path, tmp_path: Path, fault: str) -> None:
    with pytest.raises(DatasetError, match=f"no episode can be used: .*{CORRUPT[fault]}"):
        AlignedSource.open(Dataset.open(shared / "corrupt" / fault), PRESETS["droid_v30"], DUAL_ARM, 5, cache=tmp_path)


def test_the_sound_copy_is_taken(shared: Path, tmp_path: Path) -> None:
    source = AlignedSource.open(Dataset.open(shared / "corrupt/control"), PRESETS["droid_v30"], DUAL_ARM, 5, cache=tmp_path)
    assert (source.num_rows, source.quarantined) == (33, ())
