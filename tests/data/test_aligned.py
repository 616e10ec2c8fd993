"""A dataset seen through its description: what comes out, what is left out, and what is left on disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_v2 import DATA_PATH, VIDEO_PATH, write_v2

from tau0.contract import ContractError
from tau0.data.aligned import FOLDER, AlignedSource
from tau0.data.description import Numbers, Pose, SourceDescription
from tau0.data.descriptions import METAWORLD as PRESET
from tau0.data.descriptions import PRESETS
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.layout import DUAL_ARM, HUMANOID, METAWORLD
from tau0.data.progress import success_progress
from tau0.data.schema import EpisodeRecord
from tau0.data.statistics import RunningStatistics

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


@pytest.fixture
def four(tmp_path: Path) -> Path:
    return write_v2(tmp_path / "four", [EpisodeRecord.fake(20 + seed, seed) for seed in range(4)], offset_s=0.05)


def test_our_own_recordings_come_out_bit_for_bit(recorded: Path, records: tuple[EpisodeRecord, ...]) -> None:
    """What the demo trains on: kinds, branches and their past, labels, advice."""
    source = opened(recorded, replace(PRESET, sizes={}))
    dataset = source.dataset
    assert source.episodes == dataset.episodes
    assert [episode.kind for episode in source.episodes] == ["demonstration", "branch", "branch", "failure"]
    assert [episode.parent_frame for episode in source.episodes] == [-1, 7, 7, -1]
    columns = dataset.columns(["observation.state", "action", "action.expert", "progress"])
    for name, array in zip(columns, (source.state, source.action, source.advice, source.progress), strict=True):
        np.testing.assert_array_equal(array, columns[name])
        assert isinstance(array, np.memmap)
    assert source.progress_mask.all()
    np.testing.assert_array_equal(source.frames, np.concatenate([np.arange(len(r)) for r in (records[0], *records[2:], records[1])]))
    assert [source.texts[i] for i in source.text[[0, 20, -1]]] == ["reach the ball 0", "reach the ball 0", "reach the ball 1"]
    assert (source.num_rows, source.num_cuts, source.quarantined) == (58, 0, ())
    assert source.hours == pytest.approx(58 / 10 / 3600)


def test_twice_the_rate(recorded: Path) -> None:
    source = opened(recorded, replace(PRESET, sizes={}), 20.0)
    assert [episode.length for episode in source.episodes] == [39, 33, 17, 23]
    assert [episode.start for episode in source.episodes] == [0, 39, 72, 89]
    assert [episode.parent_frame for episode in source.episodes] == [-1, 14, 14, -1]
    assert [episode.remaining for episode in source.episodes] == [-1, 8, -1, -1]
    once = source.dataset.columns(["action"])["action"][:20]
    np.testing.assert_array_equal(source.action[:39:2], once)
    np.testing.assert_allclose(source.action[1:39:2], (once[1:] + once[:-1]) / 2, atol=1e-6)


def test_nothing_is_written_but_one_folder_and_read_again(four: Path) -> None:
    before = {path: path.read_bytes() for path in four.rglob("*") if path.is_file()}
    heard = []
    first = opened(four, on_episode=lambda done, total: heard.append((done, total)))
    again = opened(four, on_episode=lambda _done, _total: pytest.fail("the second time everything is there"))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    np.testing.assert_array_equal(first.state, again.state)
    assert first.advice is first.action
    assert (first.episodes, first.statistics, first.texts) == (again.episodes, again.statistics, again.texts)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.relative_to(four).parts[0] for path in four.rglob("*")} == {"meta", "data", "videos", FOLDER}


def test_what_changes_is_worked_out_again(four: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    first = opened(four, cache=cache)
    opened(four, cache=cache, rate_hz=20)
    opened(four, cache=cache, action_horizon=5)
    opened(four, replace(FAKE, success="none"), cache=cache)
    rewrite(four, 2, action=np.array(first.action[:22], np.float64))
    changed = opened(four, cache=cache)
    assert len(list(cache.iterdir())) == 5
    np.testing.assert_array_equal(changed.action[41:63], first.action[:22])
    assert not (four / FOLDER).exists()


def test_a_bad_episode_is_left_out_with_its_reason(four: Path) -> None:
    rewrite(four, 1, action=np.full((21, 4), np.nan))
    source = opened(four)
    assert [bad.episode for bad in source.quarantined] == [1]
    assert source.quarantined[0].reason.endswith(
        "episode 1: action is not finite in 21 rows of x, y, z, gripper: 0, 1, 2, 3, 4, 5, 6, 7, .."
    )
    assert [(episode.index, episode.start, episode.length) for episode in source.episodes] == [(0, 0, 20), (2, 20, 22), (3, 42, 23)]
    assert opened(four).quarantined == source.quarantined


def test_videos_that_are_missing_or_cut_off_are_no_reason_to_stop(four: Path) -> None:
    missing, cut = (next(four.glob(f"videos/*/*/*00000{episode}.mp4")) for episode in (3, 1))
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 6 // 10])
    reasons = [bad.reason for bad in opened(four).quarantined]
    assert reasons[0].startswith(f"{cut} is damaged: it cannot be opened")
    assert reasons[1:] == [f"{missing} is missing: the dataset is incomplete"]
    assert len(opened(four, replace(FAKE, cameras={})).episodes) == 4, "a camera that is not described is not missed"


def test_a_dataset_of_which_most_is_bad_is_refused(four: Path) -> None:
    for episode in range(3):
        rewrite(four, episode, timestamp=np.zeros(20 + episode))
    with pytest.raises(DatasetError, match=r"3 of 4 episodes cannot be used: .*time does not advance at row 1.*; .*; "):
        opened(four)
    assert list((four / FOLDER).iterdir()) == []
    assert len(opened(four, replace(FAKE, clock="frames")).episodes) == 4, "a clock that is not believed is not judged"


def test_millimetres_are_refused_by_name(tmp_path: Path) -> None:
    record = EpisodeRecord.fake(20)
    root = write_v2(tmp_path / "mm", [replace(record, state=record.state * 300)])
    hand = Numbers(feature="observation.state", at=(0, 1, 2))
    pose = Pose(position=hand, rotation=hand, form="euler_xyz")
    wrong = replace(FAKE, state={"right_pose": pose}, action={}, supervises={"video": 1.0})
    with pytest.raises(DatasetError, match=r"'observation.state' at 0, 1, 2 \(right_pose\) as a position in metres .* millimetres\?"):
        AlignedSource.open(Dataset.open(root), wrong, DUAL_ARM, 10)
    right = replace(wrong, state={"right_pose": replace(pose, position=replace(hand, scale=0.001), rotation=replace(hand, scale=0.001))})
    np.testing.assert_allclose(
        AlignedSource.open(Dataset.open(root), right, DUAL_ARM, 10).state[:, 10:13], record.state[:, :3] * 0.3, rtol=1e-6
    )


def test_an_episode_is_cut_where_rows_were_lost(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "gap", [EpisodeRecord.fake(20), EpisodeRecord.fake(10, 1)])
    times_s = np.arange(20) / 10 + np.where(np.arange(20) >= 12, 0.35, 0)
    rewrite(root, 0, timestamp=times_s)
    source = opened(root, rate_hz=20)
    assert [(episode.index, episode.start, episode.length) for episode in source.episodes] == [(0, 0, 23), (0, 23, 15), (1, 38, 19)]
    assert source.num_cuts == 1
    assert (source.frames[22], source.frames[23]) == (11, 12)
    gamma = 0.99**2
    np.testing.assert_array_equal(source.progress[:38], success_progress(20, gamma)[source.frames[:38]])


def test_branches_of_an_episode_that_is_not_whole_only_have_their_own_past(recorded: Path) -> None:
    path = next(recorded.glob("data/*/file-000.parquet"))
    table = pq.read_table(path)
    own = np.array(table["episode_index"]) == 0
    action = np.array(table["action"].to_pylist())
    action[np.flatnonzero(own)[3]] = np.nan
    pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", pa.array(action.tolist())), path)
    source = opened(recorded, replace(PRESET, sizes={}))
    assert [(episode.index, episode.parent, episode.parent_frame) for episode in source.episodes] == [(1, -1, -1), (2, -1, -1), (3, -1, -1)]
    assert [episode.group for episode in source.episodes] == [0, 0, -1]


def test_a_rollout_that_succeeded_is_a_demonstration_that_teaches_no_actions(four: Path) -> None:
    rollout = replace(FAKE, kind="rollout", supervises={"video": 1.0, "dynamics": 1.0, "progress": 1.0})
    assert {episode.kind for episode in opened(four, rollout).episodes} == {"demonstration"}
    failed = opened(four, replace(rollout, success="none"))
    assert {(episode.kind, episode.success) for episode in failed.episodes} == {("failure", False)}
    assert (failed.progress == -1).all()
    assert failed.progress_mask.all()


def test_nothing_known_supervises_no_progress(four: Path) -> None:
    source = opened(four, replace(FAKE, success=None))
    assert not source.progress_mask.any()
    assert {episode.success for episode in source.episodes} == {None}


def test_instructions_of_nothing_but_blanks_say_nothing(four: Path) -> None:
    (four / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "  "}))
    assert opened(four).texts == ("",)


def windows(source: AlignedSource, horizon: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The state of every row with the actions of its window that exist."""
    for episode in source.episodes:
        for row in range(episode.start, episode.stop):
            actions = source.action[row : min(row + horizon, episode.stop)].astype(np.float64)
            yield torch.from_numpy(source.state[row].astype(np.float64)), torch.from_numpy(actions)


def test_statistics_are_those_of_all_windows(four: Path) -> None:
    numbers = Numbers(feature="observation.state", at=(0, 1, 2))
    arm = {"right_pose": Pose(position=numbers, rotation=numbers, form="rotation_vector")}
    moved = {"right_pose": Pose(position=replace(numbers, feature="action"), rotation=replace(numbers, feature="action"), form="euler_xyz")}
    grip = {"right_gripper": Numbers(feature="action", at=(3,))}
    source = AlignedSource.open(Dataset.open(four), replace(FAKE, state=arm, action=moved | grip), DUAL_ARM, 10, action_horizon=6)
    state, action = RunningStatistics(20), RunningStatistics(20)
    state.add(source.state)
    codec = source.statistics.codec(DUAL_ARM)
    for now, actions in windows(source, 6):
        action.add(codec.measure(actions, now).numpy())
    there = source.action_mask
    assert there.sum() == 10
    np.testing.assert_allclose(np.array(source.statistics.action.mean)[there], action._mean[there], atol=1e-9)
    np.testing.assert_allclose(np.array(source.statistics.action.squares)[there], action._squares[there], rtol=1e-9)
    np.testing.assert_allclose(np.array(source.statistics.state.mean), state._mean, atol=1e-9)
    assert not np.array(source.statistics.action.count)[~there].any()
    assert set(np.array(source.statistics.action.std)[~there]) == {1.0}
    assert source.statistics.action.count[10] == action.count


def test_statistics_of_two_sources_of_one_robot_are_those_of_both(four: Path, tmp_path: Path) -> None:
    """One of the two without actions: it must not pull their mean to 0."""
    other = write_v2(tmp_path / "other", [EpisodeRecord.fake(30, 9)])
    first, second = opened(four), opened(other)
    silent = opened(other, replace(FAKE, action={}, supervises={"video": 1.0}))
    both = first.statistics.merged(second.statistics)
    np.testing.assert_allclose(both.state.mean, np.concatenate([first.state, second.state]).mean(0, np.float64), atol=1e-7)
    np.testing.assert_allclose(both.state.std, np.concatenate([first.state, second.state]).std(0, np.float64), atol=1e-7)
    assert first.statistics.merged(silent.statistics).action == first.statistics.action
    assert silent.statistics.action.std == (1.0,) * 4


def test_no_room_is_a_sentence_and_leaves_nothing(four: Path) -> None:
    """Files may not grow here: what the system then says is what it says of a full disk, but for the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DatasetError, match=r"\.aligned cannot be written \(File too large\): make room"):
            opened(four)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((four / FOLDER).iterdir()) == []
    assert opened(four).num_rows == 86


def test_a_kill_leaves_nothing_that_is_taken_for_whole(four: Path) -> None:
    class KilledError(BaseException):
        pass

    def kill(done: int, _total: int) -> None:
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        opened(four, on_episode=kill)
    assert list((four / FOLDER).iterdir()) == []
    whole = opened(four)
    folder = next((four / FOLDER).iterdir())
    left = folder.rename(folder.with_name(f".{folder.name}.draft-999999"))
    for path in (left, *left.iterdir()):
        os.utime(path, (0, 0))
    np.testing.assert_array_equal(opened(four).state, whole.state)
    assert not left.exists()


def test_of_two_processes_that_do_the_same_the_first_ones_work_stays(four: Path, tmp_path: Path) -> None:
    """The second must not pull files away under a reader."""
    whole = opened(four)
    folder = next((four / FOLDER).iterdir())
    kept = folder.rename(tmp_path / "kept")

    def finish_first(done: int, _total: int) -> None:
        if done == 4:
            shutil.copytree(kept, folder)
            (folder / "first").touch()

    np.testing.assert_array_equal(opened(four, on_episode=finish_first).state, whole.state)
    assert (folder / "first").exists()
    assert list((four / FOLDER).iterdir()) == [folder]


def test_a_damaged_cache_is_named(four: Path) -> None:
    opened(four)
    path = next((four / FOLDER).glob("*/state.npy"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DatasetError, match=r"state.npy is damaged: remove the folder"):
        opened(four)
    shutil.rmtree(path.parent)
    assert opened(four).num_rows == 86


def test_a_folder_that_cannot_be_written_is_named(four: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(DatasetError, match=r"file cannot be written \(.*\): make room, or name another folder"):
        opened(four, cache=occupied)


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    """Eight times the episodes, the same peak, but for what the list of episodes itself takes."""

    def peak(episodes: int) -> int:
        root = write_v2(tmp_path / str(episodes), [EpisodeRecord.fake(300, 1)])
        lines = [{"episode_index": i, "tasks": ["reach the ball"], "length": 300} for i in range(episodes)]
        (root / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for suffix in (DATA_PATH, VIDEO_PATH):
            for i in range(1, episodes):
                place = {"episode_chunk": 0, "video_key": "observation.images.front"}
                (root / suffix.format(episode_index=i, **place)).symlink_to(root / suffix.format(episode_index=0, **place))
        dataset = Dataset.open(root)
        tracemalloc.start()
        AlignedSource.open(dataset, FAKE, METAWORLD, 10)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(64) < peak(8) + 56 * 8_000


def test_a_layout_that_knows_none_of_the_robots_parts_is_refused(four: Path) -> None:
    with pytest.raises(
        ContractError, match=r"layout 'dual_arm' has none of the parts that 'fake' acts with \(hand, gripper\); metaworld would"
    ):
        AlignedSource.open(Dataset.open(four), FAKE, DUAL_ARM, 10)
    silent = AlignedSource.open(Dataset.open(four), replace(FAKE, supervises={"video": 1.0}), DUAL_ARM, 10)
    assert not silent.state_mask.any()


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
