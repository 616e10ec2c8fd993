"""What the codec refuses is left out and counted; the rest is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tau0.actions import ActionCodec, Normaliser
from tau0.data.episodes import Dataset
from tau0.data.index import SamplingSpec, WindowIndex
from tau0.data.windows import Windows, WindowSpec
from tau0.train.rejection import reject_outliers
from tiny import DIM, EMBODIMENT

SPEC = WindowSpec(action_horizon=EMBODIMENT.action_horizon, frame_stride=EMBODIMENT.frame_stride)
UNIT = Normaliser(mean=(0.0,) * DIM, std=(1.0,) * DIM)


def test_every_window_that_sees_an_outlier_is_rejected_and_no_other(dataset: Dataset):
    windows, codec = Windows(dataset.episodes, SPEC), ActionCodec(action=UNIT, state=UNIT)
    state, actions = torch.zeros(dataset.num_rows, DIM), torch.zeros(dataset.num_rows, DIM)
    first, second = dataset.episodes[0], dataset.episodes[1]
    state[first.start + 2, 1] = 101.0
    actions[second.start + 12, 3] = torch.nan
    keep, counts = reject_outliers(codec, windows, dataset.episodes, state, {"action": actions})
    seen = np.flatnonzero((windows.resolve(np.arange(dataset.num_rows)).actions == second.start + 12).any(axis=1))
    assert counts == {"state": 1, "action": len(seen)}
    assert set(np.flatnonzero(~keep)) == {first.start + 2, *seen}
    index = WindowIndex(dataset.episodes, SPEC, SamplingSpec(), keep)
    for stream in ("policy", "simulator"):
        assert keep[index.samples(stream)].all()
    everything = WindowIndex(dataset.episodes, SPEC, SamplingSpec())
    assert len(everything.samples("policy")) - len(index.samples("policy")) == 1 + len(seen)


def test_nothing_is_rejected_where_nothing_is_wrong(dataset: Dataset):
    codec = ActionCodec(action=UNIT, state=replace(UNIT, mean=(0.5,) * DIM))
    zeros = torch.zeros(dataset.num_rows, DIM)
    keep, counts = reject_outliers(codec, Windows(dataset.episodes, SPEC), dataset.episodes, zeros, {"action": zeros, "advice": zeros})
    assert keep.all()
    assert counts == {}
