"""The doctor on sound data, and on data to which one thing was done."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_v2 import DATA_PATH, VIDEO_PATH, write_lines, write_v2
from numpy.typing import NDArray

from tau0.data.doctor.diagnosis import Diagnosis, grouped
from tau0.data.doctor.examine import ExamineSpec, examine
from tau0.data.doctor.row_rules import longest_run
from tau0.data.doctor.video_rules import MAX_LAG, lagged_correlation
from tau0.data.schema import EpisodeRecord
from tau0.data.video_writer import VideoWriter

CORRUPT = {
    "truncated_mp4": ("videos", "frame 0 of 33 cannot be decoded"),
    "truncated_mp4_index_first": ("videos", "frame 19 of 33 cannot be decoded"),
    "nan_action": ("finite numbers", "action is not finite in 2 rows of z: 10, 11"),
    "fewer_rows_than_frames": ("rows", "has 28 rows of episode 0, the list of episodes says 33 frames"),
    "missing_info": ("opening", "meta/info.json is missing"),
    "wrong_state_dim": ("rows", "feature 'observation.state' has 6 numbers a row, meta/info.json says 7"),
    "non_monotonic_timestamps": ("time", "time does not advance at row 16: 3.200 s is followed by 3.000 s"),
    "unknown_task_index": ("instructions", "task_index 5 is not in meta/tasks.parquet, which has 0"),
}


def moving(steps: int, seed: int, lag: int = 0) -> EpisodeRecord:
    """An arm that moves by fits and starts, and a picture that changes as much as the arm did `lag` rows before."""
    rng = np.random.default_rng(seed)
    speed = np.abs(rng.normal(size=steps + 20)) * (rng.random(steps + 20) < 0.4)
    path = np.cumsum(speed)[10 : 10 + steps, None] * np.array([0.01, -0.008, 0.006, 0.002])
    brightness = np.cumsum(speed)[10 - lag : 10 - lag + steps] * 6
    ramp = np.arange(32)[None, :, None] * 4 + np.arange(32)[None, None, :] * 2
    picture = ((ramp + brightness[:, None, None]) % 250).astype(np.uint8)[..., None].repeat(3, -1)
    state = path.astype(np.float32)
    return replace(EpisodeRecord.fake(steps, seed), state=state, action=state + 0.001, images={"front": picture})


def said(diagnosis: Diagnosis, severity: str) -> list[str]:
    return [f"{group.finding.check}: {group.finding.what}" for group in grouped(diagnosis.findings) if group.finding.severity == severity]


def rewrite(path: Path, **columns: NDArray[np.floating]) -> None:
    """Replaces columns of a data file."""
    table = pq.read_table(path)
    for name, values in columns.items():
        array = pa.array(values.tolist())
        table = table.set_column(table.schema.get_field_index(name), name, array)
    pq.write_table(table, path)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_v2(tmp_path / "sound", [moving(60, seed) for seed in range(4)])


@pytest.fixture
def rows_file(sound: Path) -> Path:
    return sound / DATA_PATH.format(episode_chunk=0, episode_index=1)


def test_a_sound_dataset(sound: Path) -> None:
    heard = []
    diagnosis = examine(sound, on_progress=lambda fraction, what: heard.append((fraction, what)))
    assert (said(diagnosis, "error"), said(diagnosis, "warning")) == ([], [])
    assert diagnosis.is_usable
    assert (diagnosis.version, len(diagnosis.episodes), diagnosis.num_rows, diagnosis.num_watched) == ("v2.1", 4, 240, 4)
    camera = diagnosis.cameras[0]
    assert (camera.size, camera.codec, camera.num_files, camera.num_frames, camera.lag) == ((32, 32), "h264", 4, 240, 0)
    assert [(dim.feature, dim.name) for dim in diagnosis.dimensions[3:5]] == [("observation.state", "gripper"), ("action", "x")]
    assert {item.label: item.episodes for item in diagnosis.coverage}["action"] == 4
    assert diagnosis.shown[0].pictures["observation.images.front"].shape[0] == 6
    assert heard[-1] == (pytest.approx(1.0), "episode 3, rows")
    assert heard == sorted(heard, key=lambda entry: entry[0])
    assert json.loads(diagnosis.to_json())["usable"] is True


@pytest.mark.parametrize("lag", [2, -1])
def test_pictures_that_are_late_or_early(tmp_path: Path, lag: int) -> None:
    diagnosis = examine(write_v2(tmp_path / "late", [moving(60, seed, lag) for seed in range(4)]))
    assert diagnosis.cameras[0].lag == lag
    assert f"pictures {'trail' if lag > 0 else 'lead'} the rows by {abs(lag)} frames" in said(diagnosis, "warning")[0]


def test_correlation_by_lag_is_numpys_own() -> None:
    rng = np.random.default_rng(0)
    rows, pictures = rng.normal(size=50), rng.normal(size=50)
    found = lagged_correlation(rows, pictures)
    assert found[MAX_LAG] == pytest.approx(np.corrcoef(rows, pictures)[0, 1])
    assert found[MAX_LAG + 2] == pytest.approx(np.corrcoef(rows[:-2], pictures[2:])[0, 1])
    assert lagged_correlation(pictures[3:], pictures[:-3])[MAX_LAG + 3] == pytest.approx(1)


@pytest.mark.parametrize("feature", ["observation.state", "action"])
def test_millimetres_are_an_error(sound: Path, feature: str) -> None:
    for path in sorted(sound.glob("data/*/*.parquet")):
        numbers = np.array(pq.read_table(path)[feature].to_pylist())
        rewrite(path, **{feature: np.concatenate([numbers[:, :3] * 1000, numbers[:, 3:]], axis=1)})
    diagnosis = examine(sound, ExamineSpec(max_videos=0))
    errors = [group for group in grouped(diagnosis.findings) if group.finding.severity == "error"]
    assert [group.episodes for group in errors] == [(0, 1, 2, 3), ()]
    assert "positions are farther away than any arm reaches in metres: x" in errors[0].finding.what
    assert "factor of about 1000: x, y, z" in errors[1].finding.what
    assert not diagnosis.is_usable


def test_millimetres_in_one_episode_alone(sound: Path, rows_file: Path) -> None:
    numbers = {name: np.array(pq.read_table(rows_file)[name].to_pylist()) * 1000 for name in ("observation.state", "action")}
    rewrite(rows_file, **numbers)
    errors = [finding for finding in examine(sound, ExamineSpec(max_videos=0)).findings if finding.severity == "error"]
    assert [(finding.check, finding.episode) for finding in errors] == [("units", 1), ("units", 1)]


def test_outliers_and_numbers_that_never_change(sound: Path, rows_file: Path) -> None:
    for path in sorted(sound.glob("data/*/*.parquet")):
        numbers = np.array(pq.read_table(path)["action"].to_pylist())
        numbers[:, 3] = 0.5
        if path == rows_file:
            numbers[17, 1] = 30
        rewrite(path, action=numbers)
    warnings = said(examine(sound, ExamineSpec(max_videos=0)), "warning")
    assert warnings[0] == "constant numbers: 1 of 4 numbers never change: gripper"
    assert warnings[1].startswith("outliers: 1 rows lie more than 12 robust standard deviations")
    assert "in episode 1, row 17; episodes 1" in warnings[1]


def test_an_angle_that_wraps_is_only_noted(tmp_path: Path) -> None:
    angle = (np.linspace(0, 12, 200) + np.pi) % (2 * np.pi) - np.pi
    state = np.stack([angle, angle * 0.9, np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
    record = replace(EpisodeRecord.fake(200), state=state, action=state)
    diagnosis = examine(write_v2(tmp_path / "turning", [record]), ExamineSpec(max_videos=0))
    notes = [finding for finding in diagnosis.findings if finding.check == "angles"]
    assert [(note.severity, note.where) for note in notes] == [("note", "observation.state x"), ("note", "action x")]


def test_time(sound: Path, rows_file: Path) -> None:
    times = np.arange(60) / 10
    times[30:] += 0.5
    rewrite(rows_file, timestamp=times)
    other = rows_file.with_name("episode_000002.parquet")
    rewrite(other, timestamp=np.arange(60) / 20)
    diagnosis = examine(sound, ExamineSpec(max_videos=0))
    what = [finding.what for finding in diagnosis.findings if finding.check == "time"]
    assert what[0] == "time jumps by 0.600 s at row 30, expected 0.100 s; 1 such, at rows 30"
    assert what[1] == "rows are 0.0500 s apart, that is 20.00 a second; meta/info.json says 10"
    rewrite(rows_file, timestamp=times[::-1])
    assert "time does not advance at row 1" in said(examine(sound, ExamineSpec(max_videos=0)), "error")[0]


def test_a_camera_that_hangs_and_one_that_is_covered(sound: Path) -> None:
    record = moving(60, 1)
    record.images["front"][20:40] = record.images["front"][20]
    record.images["front"][50:] = 0
    with VideoWriter(
        sound / VIDEO_PATH.format(episode_chunk=0, episode_index=1, video_key="observation.images.front"), 32, 32, 10
    ) as video:
        video.append(record.images["front"])
    warnings = said(examine(sound), "warning")
    assert any(re.search(r"frames 2\d to 3\d are one and the same picture, while the robot moves", warning) for warning in warnings)
    assert any("10 of 60 frames show a single grey level, the first is frame 50" in warning for warning in warnings)


def test_rows_that_repeat_while_the_pictures_go_on(sound: Path, rows_file: Path) -> None:
    table = pq.read_table(rows_file)
    stuck = {name: np.array(table[name].to_pylist()) for name in ("observation.state", "action")}
    for numbers in stuck.values():
        numbers[20:45] = numbers[20]
    rewrite(rows_file, **stuck)
    assert any("rows 20 to 44 repeat one state and action" in warning for warning in said(examine(sound), "warning"))


def test_rows_and_frames_must_be_one_to_one(sound: Path) -> None:
    video = sound / VIDEO_PATH.format(episode_chunk=0, episode_index=1, video_key="observation.images.front")
    with VideoWriter(video, 32, 32, 10) as writer:
        writer.append(moving(64, 1).images["front"])
    assert said(examine(sound), "error") == ["rows against frames: 64 frames can be decoded, there are 60 rows"]
    with VideoWriter(video, 16, 32, 10) as writer:
        writer.append(moving(60, 1).images["front"][:, :16])
    assert said(examine(sound), "error") == ["picture size: pictures are 16 x 32, meta/info.json says 32 x 32 (height x width)"]
    with VideoWriter(video, 32, 32, 10) as writer:
        writer.append(moving(40, 1).images["front"])
    assert said(examine(sound, ExamineSpec(max_videos=0)), "error") == ["videos: lasts 4.00 s, the episode needs it up to 6.00 s"]
    video.unlink()
    for spec in (ExamineSpec(), ExamineSpec(max_videos=0)):
        assert said(examine(sound, spec), "error")[0].startswith("videos: is missing")


def test_instructions_and_labels(sound: Path) -> None:
    write_lines(sound / "meta/tasks.jsonl", [{"task_index": 0, "task": " "}, {"task_index": 1, "task": "valid"}])
    diagnosis = examine(sound, ExamineSpec(max_videos=0))
    assert said(diagnosis, "warning") == ["instructions: 4 of 4 episodes have an empty instruction: 0, 1, 2, 3"]
    assert said(diagnosis, "note") == ["instructions: texts that belong to no row: 'valid' (1 in all)"]
    assert {item.label: item.episodes for item in diagnosis.coverage} == {
        "video": 4, "state": 4, "action": 4, "instruction": 0, "success": 0, "progress": 0, "subtasks": 0
    }  # fmt: skip


def test_the_same_in_many_episodes_is_said_once(sound: Path) -> None:
    for path in sound.glob("data/*/*.parquet"):
        rewrite(path, timestamp=np.arange(60) / 10 + 0.05)
    diagnosis = examine(sound, ExamineSpec(max_videos=0))
    groups = [group for group in grouped(diagnosis.findings) if group.finding.check == "time"]
    assert [group.episodes for group in groups] == [(0, 1, 2, 3)]
    assert [line.worst for line in diagnosis.episodes] == ["warning"] * 4


def test_runs() -> None:
    assert longest_run(np.array([False, True, True, False, True])) == (1, 2)
    assert longest_run(np.zeros(3, bool)) == (0, 0)


def test_our_own_recordings_are_sound(recorded: Path) -> None:
    diagnosis = examine(recorded)
    assert diagnosis.is_usable
    assert {item.label: item.episodes for item in diagnosis.coverage}["progress"] == 4


@pytest.mark.parametrize("name", ["corrupt/control", "droid_v30", "droid_video_only_v30", "g1_v21", "g1_v21_renumbered", "gr00t_sim_v20"])
def test_real_datasets_pass(shared: Path, name: str) -> None:
    diagnosis = examine(shared / name, ExamineSpec(max_videos=0))
    assert said(diagnosis, "error") == []


@pytest.mark.parametrize("fault", CORRUPT)
def test_every_fault_is_found_and_named(shared: Path, fault: str) -> None:
    diagnosis = examine(shared / "corrupt" / fault)
    check, what = CORRUPT[fault]
    assert any(f.severity == "error" and f.check == check and what in f.what for f in diagnosis.findings)
    assert len(said(diagnosis, "error")) == 1
