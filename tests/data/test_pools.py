from __future__ import annotations

from collections import Counter

import numpy as np
from fake_episodes import catalogue, catalogues, collected
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.data.catalogue import EpisodeInfo
from tau0.data.pools import Pool, Spans, alone, by_group
from tau0.data.shuffle import permuted

SEED = (5, 1, 0, 2)
NOTHING = np.zeros(0, np.int64)


@st.composite
def rejections(draw: st.DrawFn, most: int) -> np.ndarray:
    return np.array(sorted(draw(st.sets(st.integers(0, most - 1), max_size=20))), np.int64)


def dealt_slowly(classes: list[Spans], epoch: int) -> list[int]:
    """One epoch of a pool's walk, written so that it can be read: classes deal their frames over as many ticks as the largest has."""
    ticks = max(spans.frames for spans in classes)
    walk = []
    for tick in range(ticks):
        for number, spans in enumerate(classes):
            due, later = ((2 * t * spans.frames + ticks) // (2 * ticks) for t in (tick, tick + 1))
            for frame in permuted(np.arange(due, later), spans.frames, (*SEED, epoch, number)):
                walk += [int(spans.rows(frame, np.array(member))) for member in range(spans.together)]
    return walk


def expected(episodes: tuple[EpisodeInfo, ...], ahead: int, rejected: np.ndarray) -> list[int]:
    rows = [row for episode in episodes for row in range(episode.start, episode.stop - ahead)]
    return [row for row in rows if row not in set(rejected.tolist())]


@settings(deadline=None, max_examples=50)
@given(catalogues(), st.integers(0, 10), st.data())
def test_an_epoch_is_every_sample_once_and_the_fast_walk_agrees_with_the_slow(
    episodes: tuple[EpisodeInfo, ...], ahead: int, data: st.DataObject
) -> None:
    rejected = data.draw(rejections(episodes[-1].stop))
    for find in (alone, by_group):
        classes, samples = find(episodes, ahead, rejected), expected(episodes, ahead, rejected)
        assert bool(classes) == bool(samples)
        if not samples:
            continue
        pool = Pool(classes, SEED)
        assert pool.size == len(samples)
        assert sorted(pool.all_rows()) == samples
        for epoch in (0, 3):
            walked = pool.take(epoch * pool.size, pool.size).tolist()
            assert sorted(walked) == samples
            assert walked == dealt_slowly(classes, epoch)


@given(catalogues(), st.integers(0, 200), st.lists(st.integers(0, 30), max_size=5))
def test_a_walk_in_parts_is_the_walk(episodes: tuple[EpisodeInfo, ...], first: int, parts: list[int]) -> None:
    pool = Pool(by_group(episodes, 0, NOTHING), SEED)
    at, taken = first, []
    for count in parts:
        taken += pool.take(at, count).tolist()
        at += count
    assert taken == pool.take(first, sum(parts)).tolist()


def test_what_belongs_together_is_taken_in_a_row() -> None:
    branches = tuple(episode for episode in collected() if episode.kind == "branch")
    start = {row: (e.group, row - e.start) for e in branches for row in range(e.start, e.stop)}
    walked = Pool(by_group(branches, 0, NOTHING), SEED).take(0, 8 * 25 * 3)
    units = [start[row] for row in walked.tolist()]
    assert units[::3] == units[1::3] == units[2::3]


def test_groups_of_unlike_episodes_stay_together_as_far_as_they_go() -> None:
    own = {"kind": "branch", "group": 0, "branch": "wrong"}
    episodes = catalogue({**own, "length": 10}, {**own, "length": 4}, {**own, "length": 7}, {**own, "length": 30, "group": -1})
    classes = by_group(episodes, 0, np.array([2]))
    assert {spans.together: spans.frames for spans in classes} == {1: 33, 2: 3 + 1, 3: 3}
    walked = Pool(classes, SEED).take(0, 50).tolist()
    frames = [row - next(e.start for e in episodes[:3] if e.start <= row < e.stop) for row in walked if row < 21]
    runs = [frame for frame, before in zip(frames, [-1, *frames], strict=False) if frame != before]
    assert sorted(runs) == list(range(10))
    assert Counter(frames)[2] == 2


def test_epochs_are_shuffled_anew_and_far_from_the_order_of_the_dataset() -> None:
    pool = Pool(alone(collected(), 0, NOTHING), SEED)
    first, second = (pool.take(epoch * pool.size, pool.size) for epoch in range(2))
    assert (first == second).sum() < 10
    assert abs(np.corrcoef(first, np.arange(pool.size))[0, 1]) < 0.1
