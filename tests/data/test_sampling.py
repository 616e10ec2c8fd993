from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fake_episodes import catalogue, collected

from tau0.data.catalogue import EpisodeInfo
from tau0.data.index import SamplingSpec, Shares, WindowIndex
from tau0.data.split import split_episodes
from tau0.data.windows import Windows, WindowSpec

SPEC = WindowSpec()


def kinds_of(episodes: tuple[EpisodeInfo, ...], rows: np.ndarray) -> Counter[str]:
    """How many of `rows` lie in episodes of each kind."""
    return Counter(episodes[i].kind for i in Windows(episodes, SPEC).episode_of(rows))


def test_a_step_depends_on_nothing_but_seed_and_step() -> None:
    episodes = collected()
    walked, resumed = (WindowIndex(episodes, SPEC, SamplingSpec(seed=3)) for _ in range(2))
    history = [walked.rows("simulator", step) for step in range(60)]
    assert (resumed.rows("simulator", 59) == history[59]).all()
    assert (resumed.rows("simulator", 7) == history[7]).all()
    other = WindowIndex(episodes, SPEC, SamplingSpec(seed=4))
    assert (other.rows("simulator", 7) != history[7]).any()


def test_the_policy_sees_every_frame_of_its_episodes_once_an_epoch() -> None:
    episodes = collected(num_tasks=1)
    everything = Shares(demonstration=1, failure=0, branch=0)
    index = WindowIndex(episodes, SPEC, SamplingSpec(policy_batch=16, policy=everything))
    rows = np.concatenate([index.rows("policy", step) for step in range(20 * 40 // 16)])
    assert sorted(rows) == list(range(20 * 40))
    assert (rows != np.sort(rows)).any()
    again = np.concatenate([index.rows("policy", step) for step in range(50, 100)])
    assert sorted(again) == sorted(rows)
    assert (again != rows).any()


def test_the_policy_never_sees_failures_or_wrong_branches() -> None:
    episodes = collected()
    index = WindowIndex(episodes, SPEC, SamplingSpec(policy=Shares(demonstration=1, failure=5, branch=1)))
    rows = np.concatenate([index.rows("policy", step) for step in range(50)])
    assert Windows(episodes, SPEC).resolve(rows).action_mask[:, 0].all()
    assert set(kinds_of(episodes, rows)) == {"demonstration", "branch"}


def test_shares_are_kept_in_every_batch() -> None:
    episodes = collected()
    index = WindowIndex(episodes, SPEC, SamplingSpec(simulator_batch=50, simulator=Shares(demonstration=3, failure=2, branch=5)))
    for step in range(30):
        assert kinds_of(episodes, index.rows("simulator", step)) == {"demonstration": 15, "failure": 10, "branch": 25}


def test_kinds_that_do_not_occur_leave_their_share_to_the_others() -> None:
    episodes = catalogue({"length": 40}, {"length": 40, "kind": "failure"})
    shares = Shares(demonstration=0.3, failure=0.2, branch=0.5)
    index = WindowIndex(episodes, SPEC, SamplingSpec(simulator_batch=10, simulator=shares))
    assert kinds_of(episodes, index.rows("simulator", 0)) == {"demonstration": 6, "failure": 4}


def test_every_simulator_sample_has_its_whole_future() -> None:
    episodes = collected()
    index = WindowIndex(episodes, SPEC, SamplingSpec())
    assert Windows(episodes, SPEC).resolve(index.samples("simulator")).video_mask.all()


def test_branches_of_one_state_meet_in_one_batch() -> None:
    episodes = collected()
    index = WindowIndex(episodes, SPEC, SamplingSpec(simulator_batch=30, simulator=Shares(demonstration=0, failure=0, branch=1)))
    where = Windows(episodes, SPEC).episode_of(index.rows("simulator", 5))
    seen = Counter((episodes[i].group, int(row) - episodes[i].start) for i, row in zip(where, index.rows("simulator", 5), strict=True))
    assert set(seen.values()) == {3}


def test_a_stream_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of the 1 episodes has a sample for the policy"):
        WindowIndex(catalogue({"length": 40, "kind": "failure"}), SPEC, SamplingSpec())
    with pytest.raises(ValueError, match="none of the 1 episodes has a sample for the simulator"):
        WindowIndex(catalogue({"length": 5}), SPEC, SamplingSpec())
    index = WindowIndex(catalogue({"length": 5}), SPEC, SamplingSpec(simulator_batch=0))
    assert len(index.rows("simulator", 0)) == 0
    assert len(index.samples("simulator")) == 0


def test_a_negative_share_is_refused() -> None:
    with pytest.raises(ValueError, match="share of failure"):
        Shares(demonstration=1, failure=-1, branch=0)


def test_the_split_holds_out_a_share_of_every_task_and_kind() -> None:
    episodes = collected(num_tasks=2, demonstrations=40)
    split = split_episodes(episodes, 0.05)
    held_out = Counter((episode.task, episode.kind) for episode in split["validation"])
    assert held_out["task-0", "demonstration"] == held_out["task-1", "demonstration"] == 2
    assert held_out["task-0", "failure"] == 1
    assert len(split["train"]) + len(split["validation"]) == len(episodes)


def test_as_large_a_share_of_branches_is_held_out_as_of_episodes() -> None:
    plain = [{"length": 40, "success": True}] * 120
    branched: list[dict[str, object]] = []
    for parent in range(120, 300, 6):
        branched += [{"length": 40, "success": True}]
        branched += [{"length": 25, "kind": "branch", "parent": parent, "group": parent, "branch": "wrong"}] * 5
    held_out = Counter(episode.kind for episode in split_episodes(catalogue(*plain, *branched), 0.05)["validation"])
    assert held_out == {"demonstration": 8, "branch": 10}


def test_a_branch_goes_where_its_parent_goes() -> None:
    episodes = collected()
    split = split_episodes(episodes, 0.5)
    held_out = {episode.index for episode in split["validation"]}
    assert any(episode.parent in held_out for episode in episodes)
    for episode in episodes:
        if episode.parent >= 0:
            assert (episode.index in held_out) == (episode.parent in held_out)


def test_branches_without_a_parent_stay_together() -> None:
    episodes = catalogue(*({"length": 20, "kind": "branch", "group": group, "branch": "wrong"} for group in range(10) for _ in range(4)))
    split = split_episodes(episodes, 0.05)
    assert {episode.group for episode in split["validation"]} == {9}
    assert len(split["validation"]) == 4


def test_one_episode_is_never_held_out() -> None:
    assert len(split_episodes(catalogue({"length": 5}), 0.5)["train"]) == 1
    with pytest.raises(ValueError, match="validation_share"):
        split_episodes(catalogue({"length": 5}), 1.0)
