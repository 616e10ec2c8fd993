"""A dataset seen through its description: what comes out, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_aligned import FAKE, opened, rewrite
from fake_v2 import write_v2

from tau0.contract import ContractError
from tau0.data.aligned import FOLDER, AlignedSource
from tau0.data.description import Numbers, Pose
from tau0.data.descriptions import METAWORLD as PRESET
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.layout import DUAL_ARM
from tau0.data.progress import success_progress
from tau0.data.schema import EpisodeRecord
from tau0.data.statistics import RunningStatistics


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


def test_a_layout_that_knows_none_of_the_robots_parts_is_refused(four: Path) -> None:
    with pytest.raises(
        ContractError, match=r"layout 'dual_arm' has none of the parts that 'fake' acts with \(hand, gripper\); metaworld would"
    ):
        AlignedSource.open(Dataset.open(four), FAKE, DUAL_ARM, 10)
    silent = AlignedSource.open(Dataset.open(four), replace(FAKE, supervises={"video": 1.0}), DUAL_ARM, 10)
    assert not silent.state_mask.any()
