from __future__ import annotations

from dataclasses import fields
from random import Random

import numpy as np
import pytest
from fake_episodes import catalogue, catalogues
from hypothesis import given
from hypothesis import strategies as st

from tau0.data.catalogue import EpisodeInfo
from tau0.data.windows import WindowRows, Windows, WindowSpec, resolve_one

SPECS = st.builds(
    WindowSpec,
    action_horizon=st.integers(1, 20),
    frame_stride=st.integers(1, 9),
    num_future=st.integers(0, 3),
    num_memory=st.integers(0, 4),
)


def test_a_window_in_the_middle_of_a_demonstration() -> None:
    windows = Windows(catalogue({"length": 10}, {"length": 100}), WindowSpec())
    sample = windows.resolve(np.array([40]))
    assert sample.current.tolist() == [40]
    assert sample.future.tolist() == [[48, 56]]
    assert sample.memory.tolist() == [[10, 20, 30]]
    assert sample.actions.tolist() == [list(range(40, 57))]
    assert sample.video_mask.all()
    assert sample.action_mask.all()
    assert sample.progress_mask.all()


def test_beyond_the_end_the_last_row_is_repeated_and_masked() -> None:
    windows = Windows(catalogue({"length": 20}, {"length": 20}), WindowSpec())
    sample = windows.resolve(np.array([10]))
    assert sample.future.tolist() == [[18, 19]]
    assert sample.video_mask.tolist() == [[True, False]]
    assert sample.actions.tolist() == [[*range(10, 20), *[19] * 7]]
    assert sample.action_mask.tolist() == [[True] * 10 + [False] * 7]
    assert (sample.progress_mask == sample.action_mask).all()


@pytest.mark.parametrize(
    ("attributes", "teaches"),
    [
        ({"kind": "demonstration"}, True),
        ({"kind": "failure"}, False),
        ({"kind": "branch", "branch": "expert"}, True),
        ({"kind": "branch", "branch": "near_miss"}, False),
        ({"kind": "branch", "branch": "wrong"}, False),
    ],
)
def test_only_demonstrations_and_expert_branches_teach_the_policy(attributes: dict[str, str], teaches: bool) -> None:
    sample = Windows(catalogue({"length": 40, **attributes}), WindowSpec()).resolve(np.array([3]))
    assert sample.action_mask.all() == sample.action_mask.any() == teaches
    assert sample.progress_mask.all()


def test_a_branch_remembers_its_parent() -> None:
    episodes = catalogue({"length": 50}, {"length": 17, "kind": "branch", "parent": 0, "parent_frame": 30, "branch": "wrong", "group": 0})
    windows = Windows(episodes, WindowSpec())
    assert windows.resolve(np.array([50])).memory.tolist() == [[0, 10, 20]]
    assert windows.resolve(np.array([50 + 12])).memory.tolist() == [[0, 14, 28]]
    assert windows.resolve(np.array([50 + 16])).memory.tolist() == [[0, 15, 50]]


def test_a_branch_whose_parent_was_left_out_remembers_its_own_past() -> None:
    episodes = catalogue({"length": 50}, {"length": 40, "kind": "branch", "parent": 7, "parent_frame": 30, "branch": "wrong", "group": 0})
    assert Windows(episodes, WindowSpec()).resolve(np.array([50 + 30])).memory.tolist() == [[50, 60, 70]]
    assert resolve_one(episodes, WindowSpec(), episodes[1], 30).memory.tolist() == [[50, 60, 70]]


@given(catalogues(), SPECS, st.randoms(use_true_random=False))
def test_the_fast_path_agrees_with_its_readable_twin(episodes: tuple[EpisodeInfo, ...], spec: WindowSpec, random: Random) -> None:
    windows = Windows(episodes, spec)
    rows = np.array([random.randrange(windows.num_rows) for _ in range(8)])
    fast = windows.resolve(rows)
    for i, row in enumerate(rows.tolist()):
        episode = episodes[int(windows.episode_of(np.array(row)))]
        slow = resolve_one(episodes, spec, episode, row - episode.start)
        for field in fields(WindowRows):
            assert getattr(fast, field.name)[i].tolist() == getattr(slow, field.name)[0].tolist(), field.name


@given(catalogues(), SPECS)
def test_a_window_never_leaves_its_episode_or_its_parent(episodes: tuple[EpisodeInfo, ...], spec: WindowSpec) -> None:
    windows = Windows(episodes, spec)
    rows = np.arange(windows.num_rows)
    sample = windows.resolve(rows)
    own = windows.episode_of(rows)
    family = np.array([episode.parent if episode.parent >= 0 else episode.index for episode in episodes])
    assert (windows.episode_of(sample.actions) == own[:, None]).all()
    assert (windows.episode_of(sample.future) == own[:, None]).all()
    remembered = windows.episode_of(sample.memory)
    assert ((remembered == own[:, None]) | (remembered == family[own][:, None])).all()


def test_a_row_outside_the_dataset_is_refused() -> None:
    with pytest.raises(IndexError, match="global rows run from 0 to 19, got 3 to 20"):
        Windows(catalogue({"length": 20}), WindowSpec()).resolve(np.array([3, 20]))


def test_an_impossible_window_is_refused() -> None:
    with pytest.raises(ValueError, match="frame_stride must be at least 1, got 0"):
        WindowSpec(frame_stride=0)
