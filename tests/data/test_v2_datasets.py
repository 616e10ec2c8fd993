"""LeRobot v2.1 and v2.0 behind the same `Dataset`, with the quirks that such datasets really have."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_v2 import write_lines, write_v2

from tau0.data.episodes import Dataset, DatasetError
from tau0.data.schema import EpisodeRecord
from tau0.data.segments import Segment


@pytest.fixture
def written() -> tuple[EpisodeRecord, ...]:
    return tuple(EpisodeRecord.fake(steps, seed) for seed, steps in enumerate((12, 7)))


def test_what_was_written_is_read_back(tmp_path: Path, written: tuple[EpisodeRecord, ...]) -> None:
    dataset = Dataset.open(write_v2(tmp_path / "v2", written, first=22, offset_s=0.1))
    assert (dataset.info.version, dataset.cameras, dataset.fps, dataset.num_rows) == ("v2.1", ("front",), 10, 19)
    assert [(e.index, e.start, e.length, e.kind) for e in dataset.episodes] == [(22, 0, 12, "demonstration"), (23, 12, 7, "demonstration")]
    assert dataset.features["action"].names == ("x", "y", "z", "gripper")
    for episode, record in zip(dataset.episodes, written, strict=True):
        table = dataset.table(episode)
        np.testing.assert_array_equal(table["observation.state"], record.state)
        np.testing.assert_array_equal(table["frame_index"], np.arange(len(record)))
        np.testing.assert_array_equal(table["index"], episode.start + np.arange(len(record)))
        assert set(table["episode_index"]) == {episode.index}
        assert dataset.instruction(table) == "reach the ball"
        assert np.abs(dataset.frames(episode, "front").astype(int) - record.images["front"]).mean() < 3


def test_pictures_within_the_rows(tmp_path: Path, written: tuple[EpisodeRecord, ...]) -> None:
    dataset = Dataset.open(write_v2(tmp_path / "v2", written, pictures="image"))
    assert dataset.cameras == ("front",)
    assert dataset.episodes[0].videos == {}
    for episode, record in zip(dataset.episodes, written, strict=True):
        np.testing.assert_array_equal(dataset.frames(episode, "front"), record.images["front"])


def test_pictures_within_the_rows_of_a_shared_file(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    path = dataset.episodes[0].data_path
    table = pq.read_table(path)
    source = Dataset.open(write_v2(recorded / "v2", [EpisodeRecord.fake(len(table))], pictures="image"))
    cells = pq.read_table(source.episodes[0].data_path)["observation.images.front"]
    pq.write_table(table.append_column("observation.images.top", cells), path, row_group_size=15)
    info = json.loads((recorded / "meta/info.json").read_text())
    info["features"]["observation.images.top"] = {"dtype": "image", "shape": [3, 32, 32], "names": ["channels", "height", "width"]}
    (recorded / "meta/info.json").write_text(json.dumps(info))
    dataset = Dataset.open(recorded)
    pictures = source.frames(source.episodes[0], "front")
    for episode in dataset.episodes[:3]:
        np.testing.assert_array_equal(dataset.frames(episode, "top"), pictures[episode.start : episode.stop])


def test_harmless_quirks_are_said(tmp_path: Path, written: tuple[EpisodeRecord, ...]) -> None:
    root = write_v2(
        tmp_path / "v2", written, total_episodes=100, data_path="data/chunk-{episode_index:03d}/episode_{episode_index:06d}.parquet"
    )
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.missing"] = {"dtype": "video", "shape": [3, 8, 8], "names": None}
    (root / "meta/info.json").write_text(json.dumps(info))
    dataset = Dataset.open(root)
    assert dataset.cameras == ("front",)
    assert len(dataset.table(dataset.episodes[1])["action"]) == 7
    said = " | ".join(f"{quirk.severity} {quirk.what}" for quirk in dataset.quirks)
    assert "warning total_episodes is 100, the list of episodes makes it 2" in said
    assert "declares the camera 'observation.images.missing'" in said
    assert "data_path names data/chunk-001/episode_000001.parquet, the file is data/chunk-000/episode_000001.parquet" in said


def test_subtasks_and_success(tmp_path: Path, written: tuple[EpisodeRecord, ...]) -> None:
    root = write_v2(tmp_path / "v2", written)
    annotated = [{"start_frame": 0, "end_frame": 5, "action_text": "grasp"}, {"start_frame": 5, "end_frame": 12, "skill": "place"}]
    rows = [
        {"episode_index": 0, "tasks": ["reach the ball", "valid"], "length": 12, "action_config": annotated, "success": True},
        {"episode_index": 1, "tasks": [], "length": 7, "success": False},
    ]
    write_lines(root / "meta/episodes.jsonl", rows)
    first, second = (dataset := Dataset.open(root)).episodes
    assert dataset.segments(first) == (Segment(start=0, stop=5, text="grasp"), Segment(start=5, stop=12, text="place"))
    assert (first.success, first.instruction, second.success, second.kind) == (True, "reach the ball", False, "failure")


def test_subtasks_row_by_row(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    path = dataset.episodes[0].data_path
    table = pq.read_table(path)
    indices = np.repeat([1, -1, 0, 1], [6, 4, 5, len(table) - 15])
    pq.write_table(table.append_column("subtask_index", pa.array(indices)), path)
    other = dataset.episodes[-1].data_path
    pq.write_table((rows := pq.read_table(other)).append_column("subtask_index", pa.array(np.full(len(rows), 7))), other)
    pq.write_table(pa.table({"subtask_index": [0, 1], "__index_level_0__": ["lift", "grasp"]}), recorded / "meta/subtasks.parquet")
    info = json.loads((recorded / "meta/info.json").read_text())
    info["features"]["subtask_index"] = {"dtype": "int64", "shape": [1], "names": None}
    (recorded / "meta/info.json").write_text(json.dumps(info))
    dataset = Dataset.open(recorded)
    assert [(s.start, s.stop, s.text) for s in dataset.segments(dataset.episodes[0])] == [
        (0, 6, "grasp"),
        (10, 15, "lift"),
        (15, 20, "grasp"),
    ]
    with pytest.raises(DatasetError, match="episode 3: subtask_index 7 has no text"):
        dataset.segments(dataset.episodes[3])


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        (
            "episodes",
            '{"episode_index": "x", "tasks": [], "length": 3}',
            r"episodes.jsonl, line 1: episode_index is 'x', expected a whole number",
        ),
        ("episodes", '{"episode_index": 0, "tasks": "reach", "length": 3}', r"line 1: tasks is 'reach', expected a list of texts"),
        ("episodes", '{"episode_index": 0', r"episodes.jsonl, line 1 is not valid JSON"),
        ("episodes", "", "lists no episodes"),
        ("episodes", '{"episode_index": 0, "tasks": [], "length": 0}', "episode 0 has length 0, expected at least 1"),
        (
            "episodes",
            '{"episode_index": 0, "length": 3, "action_config": [{"start_frame": 4}]}',
            "action_config cannot be read: 'end_frame'",
        ),
        ("tasks", '{"task_index": 0}', r"tasks.jsonl, line 1: task is None, expected a text"),
    ],
)
def test_faults_in_the_metadata_are_named(tmp_path: Path, written: tuple[EpisodeRecord, ...], file: str, line: str, message: str) -> None:
    root = write_v2(tmp_path / "v2", written)
    (root / f"meta/{file}.jsonl").write_text(line + "\n")
    with pytest.raises(DatasetError, match=message):
        Dataset.open(root)


def test_faults_in_the_files_are_named(tmp_path: Path, written: tuple[EpisodeRecord, ...]) -> None:
    dataset = Dataset.open(write_v2(tmp_path / "v2", written))
    first, second = dataset.episodes
    pq.write_table(pq.read_table(first.data_path).slice(0, 9), first.data_path)
    with pytest.raises(DatasetError, match=r"has 9 rows of episode 0, the list of episodes says 12 frames"):
        dataset.table(first)
    second.data_path.unlink()
    with pytest.raises(DatasetError, match=r"episode_000001.parquet is missing"):
        Dataset.open(dataset.root).table(second)
    with pytest.raises(DatasetError, match=r"data_path is 'data/\{number\}', expected a template of episode_chunk, episode_index"):
        Dataset.open(write_v2(tmp_path / "other", written, data_path="data/{number}"))


def test_a_thousand_episodes_open_in_a_moment(tmp_path: Path) -> None:
    root = write_v2(
        tmp_path / "v2", [EpisodeRecord.fake(3)], data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    )
    rows = [{"episode_index": i, "tasks": ["reach the ball"], "length": 3} for i in range(1000)]
    write_lines(root / "meta/episodes.jsonl", rows)
    for folder in (root / "data/chunk-000", root / "videos/chunk-000/observation.images.front"):
        source = next(folder.iterdir())
        for i in range(1, 1000):
            shutil.copyfile(source, folder / f"episode_{i:06d}{source.suffix}")
    start = time.process_time()
    dataset = Dataset.open(root)
    assert time.process_time() - start < 2
    assert len(dataset) == 1000
    assert len(dataset.table(dataset.episodes[-1])["action"]) == 3


def test_only_the_last_episodes_rows_are_held(recorded: Path) -> None:
    dataset = Dataset.open(recorded)
    first = dataset.episodes[0]
    rows = pq.read_table(first.data_path)
    others = rows.set_column(rows.schema.get_field_index("episode_index"), "episode_index", pa.array([99] * len(rows)))
    other_episodes = pa.concat_tables([others] * 500)
    pq.write_table(pa.concat_tables([rows, other_episodes]), first.data_path, row_group_size=len(rows))
    before = pa.total_allocated_bytes()
    assert len(dataset.table(first)["action"]) == first.length
    assert pa.total_allocated_bytes() - before < other_episodes.nbytes / 100
    assert len(pickle.loads(pickle.dumps(dataset)).table(dataset.episodes[2])["action"]) == 9


@pytest.mark.parametrize(("name", "numbers", "rows"), [("g1_v21", range(22, 30), 2418), ("g1_v21_renumbered", range(3), 866)])
def test_a_real_humanoid(shared: Path, name: str, numbers: range, rows: int) -> None:
    dataset = Dataset.open(shared / name)
    assert [episode.index for episode in dataset.episodes] == list(numbers)
    assert dataset.columns(["action"])["action"].shape == (rows, 26)
    assert dataset.features["action"].names[7] == "kRightShoulderPitch"
    assert [quirk.what for quirk in dataset.quirks] == (["the 8 episodes are numbered from 22 to 29"] if numbers[0] else [])


def test_a_simulated_humanoid_with_quirks(shared: Path) -> None:
    dataset = Dataset.open(shared / "gr00t_sim_v20")
    assert (dataset.info.version, dataset.cameras, dataset.num_rows) == ("v2.0", ("ego_view",), 2096)
    assert len(dataset.quirks) == 4
    last = dataset.episodes[-1]
    table = dataset.table(last)
    assert table["timestamp"][0] == pytest.approx(0.05)
    assert dataset.instruction(table) == last.instruction == "pick the cupcake from the counter and place it in the plate"
    frames = dataset.frames(last, "ego_view")
    assert frames.shape == (328, 256, 256, 3)
    assert (frames[:, 0] == 0).mean() > 0.9
