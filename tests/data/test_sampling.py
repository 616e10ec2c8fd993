from __future__ import annotations

import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fake_episodes import catalogue, catalogues, collected
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.data.catalogue import EpisodeInfo
from tau0.data.description import Numbers, Signal, SourceDescription, SourceKind
from tau0.data.index import STREAMS, SampledSource, SampleIndex, SamplingSpec, Shares, Stream, Weighing, streams_of
from tau0.data.split import split_episodes
from tau0.data.windows import Windows, WindowSpec

SPEC = WindowSpec()


def of_one(episodes: Sequence[EpisodeInfo], window: WindowSpec, spec: SamplingSpec) -> SampleIndex:
    """The samples of one source that supervises everything."""
    return SampleIndex([sampled(episodes)], window, spec)


def kinds_of(episodes: tuple[EpisodeInfo, ...], rows: np.ndarray) -> Counter[str]:
    """How many of `rows` lie in episodes of each kind."""
    return Counter(episodes[i].kind for i in Windows(episodes, SPEC).episode_of(rows))


def test_a_step_depends_on_nothing_but_seed_and_step() -> None:
    episodes = collected()
    walked, resumed = (of_one(episodes, SPEC, SamplingSpec(seed=3)) for _ in range(2))
    history = [walked.rows("simulator", step) for step in range(60)]
    assert (resumed.rows("simulator", 59) == history[59]).all()
    assert (resumed.rows("simulator", 7) == history[7]).all()
    other = of_one(episodes, SPEC, SamplingSpec(seed=4))
    assert (other.rows("simulator", 7) != history[7]).any()


def test_the_policy_sees_every_frame_of_its_episodes_once_an_epoch() -> None:
    episodes = collected(num_tasks=1)
    everything = Shares(demonstration=1, failure=0, branch=0)
    index = of_one(episodes, SPEC, SamplingSpec(policy_batch=16, policy=everything))
    rows = np.concatenate([index.rows("policy", step) for step in range(20 * 40 // 16)])
    assert sorted(rows) == list(range(20 * 40))
    assert (rows != np.sort(rows)).any()
    again = np.concatenate([index.rows("policy", step) for step in range(50, 100)])
    assert sorted(again) == sorted(rows)
    assert (again != rows).any()


def test_the_policy_never_sees_failures_or_wrong_branches() -> None:
    episodes = collected()
    index = of_one(episodes, SPEC, SamplingSpec(policy=Shares(demonstration=1, failure=5, branch=1)))
    rows = np.concatenate([index.rows("policy", step) for step in range(50)])
    assert Windows(episodes, SPEC).resolve(rows).action_mask[:, 0].all()
    assert set(kinds_of(episodes, rows)) == {"demonstration", "branch"}


def test_shares_are_kept_in_every_batch() -> None:
    episodes = collected()
    index = of_one(episodes, SPEC, SamplingSpec(simulator_batch=50, simulator=Shares(demonstration=3, failure=2, branch=5)))
    for step in range(30):
        assert kinds_of(episodes, index.rows("simulator", step)) == {"demonstration": 15, "failure": 10, "branch": 25}


def test_kinds_that_do_not_occur_leave_their_share_to_the_others() -> None:
    episodes = catalogue({"length": 40}, {"length": 40, "kind": "failure"})
    shares = Shares(demonstration=0.3, failure=0.2, branch=0.5)
    index = of_one(episodes, SPEC, SamplingSpec(simulator_batch=10, simulator=shares))
    assert kinds_of(episodes, index.rows("simulator", 0)) == {"demonstration": 6, "failure": 4}


def test_every_simulator_sample_has_its_whole_future() -> None:
    episodes = collected()
    index = of_one(episodes, SPEC, SamplingSpec())
    assert Windows(episodes, SPEC).resolve(index.samples("simulator")).video_mask.all()


def test_branches_of_one_state_meet_in_one_batch() -> None:
    episodes = collected()
    index = of_one(episodes, SPEC, SamplingSpec(simulator_batch=30, simulator=Shares(demonstration=0, failure=0, branch=1)))
    where = Windows(episodes, SPEC).episode_of(index.rows("simulator", 5))
    seen = Counter((episodes[i].group, int(row) - episodes[i].start) for i, row in zip(where, index.rows("simulator", 5), strict=True))
    assert set(seen.values()) == {3}


def test_a_stream_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of the 1 episodes has a sample for the policy"):
        of_one(catalogue({"length": 40, "kind": "failure"}), SPEC, SamplingSpec())
    with pytest.raises(ValueError, match="none of the 1 episodes has a sample for the simulator"):
        of_one(catalogue({"length": 5}), SPEC, SamplingSpec())
    index = of_one(catalogue({"length": 5}), SPEC, SamplingSpec(simulator_batch=0))
    assert len(index.rows("simulator", 0)) == 0
    assert len(index.samples("simulator")) == 0


def sampled(episodes: Sequence[EpisodeInfo], streams: Sequence[Stream] = STREAMS, weight: float = 1.0, hours: float = 1.0) -> SampledSource:
    return SampledSource(name="arm", episodes=episodes, num_rows=episodes[-1].stop, streams=frozenset(streams), weight=weight, hours=hours)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[SampledSource], SampleIndex]:
    sources = [sampled(catalogue({"length": 30}))]
    for _ in range(draw(st.integers(0, 3))):
        source = sampled(draw(catalogues()), weight=draw(st.floats(0.01, 100)), hours=draw(st.floats(0.01, 100)))
        rejected = np.array(sorted(draw(st.sets(st.integers(0, source.num_rows - 1), max_size=5))), np.int64)
        sources.append(replace(source, rejected=rejected))
    spec = SamplingSpec(
        policy_batch=draw(st.integers(1, 50)),
        simulator_batch=draw(st.integers(1, 50)),
        weighing=Weighing(by=draw(st.sampled_from(["hours", "samples", "tempered"]))),
        seed=draw(st.integers(0, 3)),
    )
    return sources, SampleIndex(sources, WindowSpec(frame_stride=draw(st.integers(1, 5))), spec)


def by_pool(sources: Sequence[SampledSource], index: SampleIndex, rows: np.ndarray) -> dict[tuple[int, str], list[int]]:
    """The rows of every source and kind, in the order in which they come."""
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    for source, row in zip(*index.locate(rows), strict=True):
        episode = next(e for e in sources[source].episodes if e.start <= row < e.stop)
        found[int(source), episode.kind].append(int(row))
    return found


@settings(deadline=None, max_examples=40)
@given(mixtures(), st.sampled_from(STREAMS), st.integers(1, 4), st.integers(0, 9))
def test_nothing_repeats_or_drops_whoever_asks_and_wherever_it_goes_on(
    mixture: tuple[list[SampledSource], SampleIndex], stream: Stream, world: int, resumed_at: int
) -> None:
    sources, index = mixture
    single = [index.rows(stream, step) for step in range(10)]
    batch = index.spec.batch(stream)
    cuts = [batch * rank // world for rank in range(world + 1)]
    assert {len(rows) for rows in single} == {batch}
    assert np.concatenate([index.rows(stream, resumed_at)[a:b] for a, b in pairwise(cuts)]).tolist() == single[resumed_at].tolist()
    walked, possible = by_pool(sources, index, np.concatenate(single)), by_pool(sources, index, index.samples(stream))
    pools = {(pool.source, pool.kind): pool for pool in index.composition(stream)}
    assert {key: pool.samples for key, pool in pools.items()} == {key: len(rows) for key, rows in possible.items()}
    assert set(walked) <= set(pools)
    for key, pool in pools.items():
        taken = walked.get(key, [])
        assert abs(len(taken) - 10 * batch * pool.share) < 2
        for first in range(0, len(taken), pool.samples):
            epoch = taken[first : first + pool.samples]
            assert len(set(epoch)) == len(epoch)
            assert set(epoch) <= set(possible[key])


@settings(deadline=None, max_examples=25)
@given(mixtures(), st.sampled_from(STREAMS), st.integers(0, 10**9))
def test_a_step_far_away_is_as_near_as_the_first(mixture: tuple[list[SampledSource], SampleIndex], stream: Stream, step: int) -> None:
    index = mixture[1]
    assert len(index.rows(stream, step)) == index.spec.batch(stream)
    assert set(index.rows(stream, step).tolist()) <= set(index.samples(stream).tolist())


def test_sources_are_weighed_by_hours_by_samples_or_between() -> None:
    long, short = catalogue({"length": 900}), catalogue({"length": 100})
    sources = [sampled(long, hours=1.0), sampled(short, hours=4.0, weight=0.5)]
    for weighing, expected in (
        (Weighing(by="hours"), 1 / 3),
        (Weighing(by="samples"), 900 / 950),
        (Weighing(by="tempered", temper=0.5), 30 / 35),
        (Weighing(by="tempered", temper=0.0), 2 / 3),
    ):
        assert SampleIndex(sources, SPEC, SamplingSpec(weighing=weighing)).composition("policy")[0].share == pytest.approx(expected)
    with pytest.raises(ValueError, match="temper must be in"):
        Weighing(by="tempered", temper=2)
    with pytest.raises(ValueError, match="'arm' is weighed by its hours"):
        SampleIndex([sampled(long, hours=0.0)], SPEC, SamplingSpec(weighing=Weighing(by="hours")))


def test_kinds_share_what_their_own_source_has() -> None:
    both, plain = collected(num_tasks=1), catalogue({"length": 60})
    shares = Shares(demonstration=0.5, failure=0.25, branch=0.25)
    spec = SamplingSpec(simulator_batch=16, simulator=shares, weighing=Weighing(by="tempered", temper=0))
    index = SampleIndex([sampled(both), sampled(plain)], SPEC, spec)
    assert [(p.source, p.kind, p.share) for p in index.composition("simulator")] == [
        (0, "demonstration", 0.25), (0, "failure", 0.125), (0, "branch", 0.125), (1, "demonstration", 0.5)
    ]  # fmt: skip
    rows = index.rows("simulator", 3)
    source, row = index.locate(rows)
    assert Counter(source.tolist()) == {0: 8, 1: 8}
    assert kinds_of(both, row[source == 0]) == {"demonstration": 4, "failure": 2, "branch": 2}
    assert Counter(index.locate(rows[:8])[0].tolist()) == {0: 4, 1: 4}


def described(kind: SourceKind, *signals: Signal) -> SourceDescription:
    arm = {"right_gripper": Numbers(feature="action", at=(0,))}
    return SourceDescription(name="arm", kind=kind, embodiment="arm", cameras={}, action=arm, supervises=dict.fromkeys(signals, 1.0))


def test_sources_go_where_their_description_says() -> None:
    assert streams_of(described("teleoperation", "video", "action", "dynamics", "progress")) == set(STREAMS)
    assert streams_of(described("umi", "action")) == {"policy"}
    assert streams_of(described("egocentric", "video")) == {"policy"}
    assert streams_of(described("rollout", "video", "dynamics", "progress")) == {"simulator"}
    assert streams_of(described("rollout", "video")) == frozenset()
    people, robot = catalogue({"length": 40}), catalogue({"length": 50}, {"length": 50, "kind": "failure"})
    index = SampleIndex([sampled(people, ["policy"]), sampled(robot, ["simulator"])], SPEC, SamplingSpec())
    assert {p.source for p in index.composition("policy")} == {0}
    assert {p.source for p in index.composition("simulator")} == {1}


def test_a_row_of_no_source_is_refused() -> None:
    index = SampleIndex([sampled(catalogue({"length": 40})), sampled(catalogue({"length": 30}))], SPEC, SamplingSpec())
    assert [part.tolist() for part in index.locate(np.array([39, 40, 69]))] == [[0, 1, 1], [39, 0, 29]]
    with pytest.raises(IndexError, match="global rows run from 0 to 69, got 70 to 70"):
        index.locate(np.array([70]))
    with pytest.raises(ValueError, match="weight of 'arm' must be above 0"):
        sampled(catalogue({"length": 40}), weight=0)


def test_a_million_rows_cost_no_more_memory_than_a_thousand() -> None:
    index = SampleIndex([sampled(catalogue(*({"length": 100_000} for _ in range(10))))], SPEC, SamplingSpec())
    tracemalloc.start()
    rows = index.rows("simulator", 12_345)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(rows.tolist())) == 64
    assert peak < 200_000


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


def test_of_episodes_that_each_have_a_task_of_their_own_some_are_held_out() -> None:
    own = catalogue(*({"length": 5, "task": f"task-{i}"} for i in range(11)))
    assert [episode.index for episode in split_episodes(own)["validation"]] == [10]
    many = split_episodes(catalogue(*({"length": 5, "task": f"task-{i}"} for i in range(60))))["validation"]
    assert [episode.index for episode in many] == [19, 39, 59]


def test_tasks_that_are_alone_change_nothing_for_the_others() -> None:
    shared = [{"length": 5, "task": f"task-{i % 2}"} for i in range(20)]
    alone = [{"length": 5, "task": "a", "kind": "failure"}, {"length": 5, "task": "b"}, {"length": 5, "task": "c", "kind": "failure"}]
    before = {episode.index for episode in split_episodes(catalogue(*shared))["validation"]}
    after = {episode.index for episode in split_episodes(catalogue(*shared, *alone))["validation"]}
    assert before == {18, 19}
    assert after == {18, 19, 22}


def test_one_episode_is_never_held_out() -> None:
    assert len(split_episodes(catalogue({"length": 5}), 0.5)["train"]) == 1
    with pytest.raises(ValueError, match="validation_share"):
        split_episodes(catalogue({"length": 5}), 1.0)
