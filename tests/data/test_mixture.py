"""Who gives how many samples: apportionment, weights, and the mixture as people write it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_episodes import catalogue, collected
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.data.apportion import Apportionment
from tau0.data.descriptions import PRESETS
from tau0.data.index import Weighing
from tau0.data.mixture import MixtureError, Selection, mixture_to_json, read_mixture
from tau0.data.windows import WindowSpec

WEIGHTS = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=12)


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 64), st.integers(0, 10_000))
def test_every_pool_is_always_within_two_samples_of_its_share(weights: list[float], batch: int, first: int) -> None:
    dealt = Apportionment(weights)
    exact = np.array(weights) / sum(weights)
    given_so_far = [dealt.before(step * batch) for step in range(first, first + 20)]
    for step, given_ in enumerate(given_so_far, start=first):
        assert given_.sum() == step * batch
        assert (abs(given_ - step * batch * exact) < 2).all()
    assert (np.diff(given_so_far, axis=0) >= 0).all()


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 10**9))
def test_whole_shares_are_the_same_in_every_batch(counts: list[int], times: int, step: int) -> None:
    dealt, batch = Apportionment([count / 7 for count in counts]), sum(counts) * times
    assert (dealt.before((step + 1) * batch) - dealt.before(step * batch)).tolist() == [count * times for count in counts]


def test_a_rare_pool_is_seen_though_its_share_of_a_batch_is_below_one() -> None:
    dealt = Apportionment([0.999, 0.001])
    steps = [int(dealt.before((step + 1) * 8)[1] - dealt.before(step * 8)[1]) for step in range(1000)]
    assert sum(steps) == 8
    assert set(steps) == {0, 1}


def test_many_pools_are_exact_after_a_billion_samples() -> None:
    weights = np.random.default_rng(0).lognormal(0, 3, 300)
    assert abs(Apportionment(weights.tolist()).before(10**9) - 10**9 * weights / weights.sum()).max() < 2


@pytest.mark.parametrize("weights", [[], [1.0, 0.0], [1.0, float("nan")], [float("inf")]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights above 0"):
        Apportionment(weights)


DROID: dict[str, Any] = {"dataset": "droid", "description": "droid_v30"}
PEOPLE: dict[str, Any] = {"name": "people", "kind": "egocentric", "embodiment": "person", "cameras": {"head": "eye"}}
MIXTURE: dict[str, Any] = {
    "layout": "dual_arm",
    "rate_hz": 15,
    "cameras": [{"name": "head", "height": 96, "width": 128}, {"name": "right_hand", "height": 96, "width": 96}],
    "sources": [DROID],
}
ROBOT: dict[str, Any] = {
    "name": "mine",
    "cameras": MIXTURE["cameras"],
    "state_names": ["q"] * 20,
    "action": {"names": ["q"] * 20, "low": [-1.0] * 20, "high": [1.0] * 20},
    "control_hz": 15.0,
    "action_horizon": 17,
    "frame_stride": 8,
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "mixture.json"
    path.write_text(json.dumps({**MIXTURE, **changes}))
    return path


def test_a_mixture_says_what_is_trained_on(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(
        json.dumps({"name": "mine", "kind": "egocentric", "embodiment": "person", "cameras": {"head": "eye"}})
    )
    sources = [
        {**DROID, "weight": 2, "select": {"kinds": ["demonstration"], "per_task": [0, 10]}},
        {"dataset": "../people", "description": "mine.json"},
        {"dataset": "/far/away", "description": {"name": "other", "kind": "egocentric", "embodiment": "person", "cameras": {"head": "x"}}},
    ]
    mixture = read_mixture(written(tmp_path, sources=sources, weigh="tempered", temper=0.5, num_future=4))
    assert [source.dataset for source in mixture.sources] == [tmp_path / "droid", tmp_path / "../people", Path("/far/away")]
    assert [source.description.name for source in mixture.sources] == ["droid_v30", "mine", "other"]
    assert mixture.sources[0].description is PRESETS["droid_v30"]
    assert mixture.sources[0].select == Selection(kinds=("demonstration",), per_task=(0, 10))
    assert mixture.roles == ("head", "right_hand")
    assert mixture.window(3) == WindowSpec(num_future=4)
    assert mixture.weighing() == Weighing(by="tempered", temper=0.5)


def test_a_mixture_comes_back_from_what_was_written(tmp_path: Path) -> None:
    sources = [{**DROID, "select": {"episodes": [3, 5]}}, {"dataset": "g1", "description": "g1_v21"}]
    mixture = read_mixture(written(tmp_path, sources=sources, embodiment=ROBOT))
    assert mixture.embodiment is not None
    assert mixture.embodiment.action.high == (1.0,) * 20
    (tmp_path / "again.json").write_text(mixture_to_json(mixture))
    assert read_mixture(tmp_path / "again.json") == mixture


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layuot": "dual_arm"}, r"unknown field 'layuot' \(did you mean 'layout'\?\)"),
        ({"layout": "dualarm"}, r"unknown layout 'dualarm' \(did you mean 'dual_arm'\?\); there are dual_arm,"),
        ({"rate_hz": 0}, "rate_hz must be above 0 and at most 1000, got 0"),
        ({"rate_hz": 1e6}, "rate_hz must be above 0 and at most 1000, got 1000000"),
        ({"rate_hz": "fast"}, "rate_hz: .* got 'fast'"),
        ({"weigh": "hour"}, r"weigh is 'hour' \(did you mean 'hours'\?\); it may be hours, samples, tempered"),
        ({"weigh": "tempered"}, "'tempered' needs a temper in"),
        ({"temper": 0.5}, "weigh 'hours' does not know temper 0.5"),
        ({"weigh": "tempered", "temper": 3}, r"temper must be in \[0, 1\], got 3"),
        ({"num_future": -1}, "num_future must be at least 0, got -1"),
        ({"cameras": []}, "cameras need different names, at least one, got none"),
        ({"cameras": [{"name": "head", "height": 96, "widht": 96}]}, r"unknown field 'cameras.0.widht' \(did you mean 'width'\?\)"),
        ({"cameras": [{"name": "head", "height": 96, "width": 0}]}, "camera 'head' is 96 x 0 pixels"),
        (
            {"cameras": [{"name": "heads", "height": 9, "width": 9}]},
            r"source 0 \(.*droid\) has no camera for heads \(did you mean 'head'\?\)",
        ),
        (
            {"embodiment": {**ROBOT, "control_hz": 10.0}},
            r"embodiment.control_hz is 10.0, the mixture's rate_hz is 15.0; they must be equal",
        ),
        ({"embodiment": {**ROBOT, "state_names": ["q"] * 21}}, "embodiment.state_names has 21 names, the layout 'dual_arm' has 20 numbers"),
        ({"sources": []}, "sources lists no dataset"),
        ({"sources": [DROID, DROID]}, "source 1 .* is there twice"),
        ({"sources": [{"dataset": "droid"}]}, "field 'sources.0.description' is missing"),
        ({"sources": [{**DROID, "description": "droid_v31"}]}, r"sources.0.description: .*did you mean 'droid_v30'"),
        ({"sources": [{**DROID, "description": 3}]}, "sources.0.description: expected the name of a preset"),
        ({"sources": [{**DROID, "wieght": 3}]}, r"unknown field 'sources.0.wieght' \(did you mean 'weight'\?\)"),
        ({"sources": [{**DROID, "weight": -1}]}, "sources.0: weight must be above 0, got -1"),
        ({"sources": [{**DROID, "select": {"kind": ["failure"]}}]}, r"'sources.0.select.kind' \(did you mean 'kinds'\?\)"),
        ({"sources": [{**DROID, "select": {"kinds": ["failures"]}}]}, r"kinds.0 is 'failures' \(did you mean 'failure'\?\)"),
        ({"sources": [{**DROID, "select": {"per_task": [5, 5]}}]}, r"0 <= first < stop, got \[5, 5\]"),
        (
            {"sources": [{**DROID, "select": {"episodes": []}}]},
            "select: episodes lists none, which selects nothing; leave it out to take all",
        ),
        ({"sources": [{**DROID, "select": {"kinds": []}}]}, "select: kinds lists none"),
        (
            {"sources": [{**DROID, "description": {**PEOPLE, "kind": "rollout"}}]},
            "'people' is rollout without dynamics, of which neither policy nor simulator learns anything",
        ),
        (
            {"sources": [{**DROID, "description": {**PEOPLE, "kind": "umi", "supervises": {"video": 1, "progress": 1}}}]},
            "'people' supervises progress without dynamics, but progress is learnt by the simulator",
        ),
        (
            {"sources": [{**DROID, "description": {**PEOPLE, "cameras": {}}}]},
            "has no camera for head, right_hand; its description names none",
        ),
    ],
)
def test_what_is_wrong_with_a_mixture_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MixtureError, match=rf"mixture\.json: .*{said}"):
        read_mixture(written(tmp_path, **changes))


def test_a_mixture_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MixtureError, match="is not a file"):
        read_mixture(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"layout": ')
    with pytest.raises(MixtureError, match=r"half\.json: the file: Invalid JSON"):
        read_mixture(tmp_path / "half.json")


def test_another_json_is_no_mixture(tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text(json.dumps(PEOPLE))
    with pytest.raises(MixtureError, match=r"people\.json is no mixture: it has neither a layout nor sources$"):
        read_mixture(tmp_path / "people.json")


def test_selecting_takes_the_first_of_every_task_and_kind() -> None:
    episodes = collected(num_tasks=2, demonstrations=20, failures=6)
    assert Selection().numbers(episodes, "arm") == {episode.index for episode in episodes}
    chosen = Selection(kinds=("demonstration", "failure"), per_task=(2, 5)).numbers(episodes, "arm")
    found = Counter((episode.task, episode.kind) for episode in episodes if episode.index in chosen)
    assert set(found.values()) == {3}
    assert {2, 3, 4, 22, 23, 24} <= chosen
    assert Selection(episodes=(7, 1, 21), kinds=("demonstration",)).numbers(episodes, "arm") == {1, 7}


def test_selecting_nothing_is_an_error() -> None:
    episodes = catalogue({"length": 5}, {"length": 5})
    with pytest.raises(MixtureError, match=r"select \{'kinds': \('failure',\)\} takes none of the 2 episodes of arm \(2 demonstrations\)"):
        Selection(kinds=("failure",)).numbers(episodes, "arm")
    with pytest.raises(MixtureError, match="arm has no episode 2, 9: numbers run from 0 to 1"):
        Selection(episodes=(1, 2, 9)).numbers(episodes, "arm")
