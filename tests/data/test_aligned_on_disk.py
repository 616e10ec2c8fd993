"""A dataset seen through its description: what is left on disk, and in memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fake_aligned import FAKE, opened
from fake_v2 import DATA_PATH, VIDEO_PATH, write_v2

from tau0.data.aligned import FOLDER, AlignedSource
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.layout import METAWORLD
from tau0.data.schema import EpisodeRecord


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
