"""What the codec refuses is left out and counted; the rest is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tau0.actions import ActionCodec, Normaliser
from tau0.data.aligned import AlignedSource
from tau0.data.episodes import Dataset
from tau0.data.index import SampledSource, SampleIndex, SamplingSpec
from tau0.data.windows import Windows, WindowSpec
from tau0.train.ingredients import align_sources, dataset_mixture
from tau0.train.rejection import kept_rejections, reject_outliers
from tiny import DIM, EMBODIMENT, NUM_FUTURE

SPEC = WindowSpec(action_horizon=EMBODIMENT.action_horizon, frame_stride=EMBODIMENT.frame_stride)
UNIT = Normaliser(mean=(0.0,) * DIM, std=(1.0,) * DIM)
CODEC = ActionCodec(action=UNIT, state=UNIT)


@pytest.fixture(scope="module")
def aligned(dataset: Dataset) -> AlignedSource:
    """With zeros instead of what was recorded."""
    (source,) = align_sources(dataset_mixture(dataset.root, EMBODIMENT, NUM_FUTURE))
    zeros = np.zeros((source.num_rows, DIM), np.float32)
    return replace(source, state=zeros, action=zeros, advice=zeros)


def test_every_window_that_sees_an_outlier_is_rejected_and_no_other(aligned: AlignedSource):
    state, action = aligned.state.copy(), aligned.action.copy()
    first, second = aligned.episodes[:2]
    state[first.start + 2, 1] = 101.0
    action[second.start + 12, 3] = np.nan
    found = reject_outliers(CODEC, replace(aligned, state=state, action=action), SPEC)
    windows = Windows(aligned.episodes, SPEC)
    seen = np.flatnonzero((windows.resolve(np.arange(aligned.num_rows)).actions == second.start + 12).any(axis=1))
    assert found.counts == {"state": 1, "action": len(seen)}
    assert set(found.rows) == {first.start + 2, *seen}
    sampled = SampledSource(name="a", episodes=aligned.episodes, num_rows=aligned.num_rows)
    some, everything = (SampleIndex([s], SPEC, SamplingSpec()) for s in (replace(sampled, rejected=found.rows), sampled))
    for stream in ("policy", "simulator"):
        assert not np.isin(found.rows, some.samples(stream)).any()
    assert len(everything.samples("policy")) - len(some.samples("policy")) == 1 + len(seen)


def test_nothing_is_rejected_where_nothing_is_wrong(aligned: AlignedSource):
    codec = ActionCodec(action=UNIT, state=replace(UNIT, mean=(0.5,) * DIM))
    found = reject_outliers(codec, aligned, SPEC)
    assert len(found.rows) == 0
    assert found.counts == {}


def test_numbers_that_a_robot_does_not_have_are_no_outliers(aligned: AlignedSource):
    far = Normaliser(mean=(0.0, 0.0, 0.0, 5.0), std=(1.0, 1.0, 1.0, 0.01))
    codec, absent = ActionCodec(action=far, state=far), np.array([True, True, True, False])
    parts = {"hand": aligned.description.action["hand"]}
    one_arm = replace(aligned.description, state=parts, action=parts, advice={})
    assert len(reject_outliers(codec, aligned, SPEC).rows) == aligned.num_rows
    without = replace(aligned, description=one_arm, state_mask=absent, action_mask=absent)
    assert len(reject_outliers(codec, without, SPEC).rows) == 0


def test_rejections_are_worked_out_once(aligned: AlignedSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = aligned.state.copy()
    state[5] = 200.0
    source = replace(aligned, state=state)
    first = kept_rejections(tmp_path, CODEC, source, SPEC)
    monkeypatch.setattr("tau0.train.rejection.reject_outliers", lambda *_: pytest.fail("worked out twice"))
    again = kept_rejections(tmp_path, CODEC, source, SPEC)
    assert first.rows.tolist() == again.rows.tolist() == [5]
    assert first.counts == again.counts == {"state": 1}
