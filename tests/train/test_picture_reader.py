"""Chosen frames out of video files, ours and those that others wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tau0.data.episodes import Dataset
from tau0.train.picture_reader import PictureReader


def test_chosen_frames_are_those_of_the_episode(dataset: Dataset) -> None:
    reader, rng = PictureReader(dataset, max_open=1), np.random.default_rng(0)
    for episode in dataset.episodes:
        for camera in dataset.cameras:
            wanted = np.unique(rng.integers(0, episode.length, 6))
            assert (reader.read(episode, camera, wanted, 32, 32) == dataset.frames(episode, camera)[wanted]).all()
    reader.close()


@pytest.mark.parametrize("name", ["droid_v30", "g1_v21_renumbered", "gr00t_sim_v20"])
def test_chosen_frames_of_files_that_others_wrote(shared: Path, name: str) -> None:
    dataset, rng = Dataset.open(shared / name), np.random.default_rng(1)
    reader, episode, camera = PictureReader(dataset), dataset.episodes[2], dataset.cameras[-1]
    pictures = dataset.frames(episode, camera)
    for count in (5, 1):
        wanted = np.unique(rng.integers(0, episode.length, count))
        assert (reader.read(episode, camera, wanted, *pictures.shape[1:3]) == pictures[wanted]).all()
    assert reader.read(episode, camera, np.array([0, 3]), 96, 128).shape == (2, 96, 128, 3)
