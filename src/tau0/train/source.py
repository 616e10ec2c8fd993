"""Batches of windows from a dataset and its cached latents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from tau0.actions import ActionCodec, Normaliser
from tau0.data.catalogue import KINDS
from tau0.data.description import SIGNALS
from tau0.data.episodes import Dataset
from tau0.data.index import SamplingSpec, Stream, WindowIndex
from tau0.data.schema import ACTION, EXPERT_ACTION, PROGRESS, STATE, TASK_INDEX
from tau0.data.split import Split, split_episodes
from tau0.data.statistics import RunningStatistics
from tau0.data.windows import Rows, Windows, WindowSpec
from tau0.model.text import TextEncoder
from tau0.tensors import Batch
from tau0.train.rejection import reject_outliers


def fit_codec(dataset: Dataset) -> ActionCodec:
    """A codec whose statistics are those of the dataset's states and of all its actions, executed and advised."""
    columns = dataset.columns([STATE, ACTION, EXPERT_ACTION])
    names = dataset.features[ACTION].names or ()
    actions, states = RunningStatistics(columns[ACTION].shape[1]), RunningStatistics(columns[STATE].shape[1])
    actions.add(columns[ACTION])
    actions.add(columns[EXPERT_ACTION])
    states.add(columns[STATE])
    action, state = actions.result(names), states.result(dataset.features[STATE].names or ())
    return ActionCodec(action=Normaliser(mean=action.mean, std=action.std), state=Normaliser(mean=state.mean, std=state.std))


class TrainingSource:
    """The samples of one split, as batches that are a pure function of (seed, step).

    Attributes:
        windows: Resolves samples of the whole dataset.
        index: Which samples a step sees; none whose numbers the codec refuses.
        rejected: How many samples of the split were left out, by reason.
        empty_text: Features of "", which stand for a dropped instruction, shape (l, c).
    """

    def __init__(
        self,
        dataset: Dataset,
        latents: Mapping[str, NDArray[np.float16]],
        codec: ActionCodec,
        text: TextEncoder,
        window: WindowSpec,
        sampling: SamplingSpec,
        split: Split = "train",
    ) -> None:
        columns = dataset.columns([STATE, ACTION, EXPERT_ACTION, PROGRESS, TASK_INDEX])
        self.windows = Windows(dataset.episodes, window)
        self.latents = list(latents.values())
        self.codec = codec
        self.state, self.executed, self.expert = (
            torch.from_numpy(columns[name].astype(np.float32)) for name in (STATE, ACTION, EXPERT_ACTION)
        )
        self.progress = torch.from_numpy(columns[PROGRESS].astype(np.float32)).reshape(-1)
        episodes = split_episodes(dataset.episodes)[split]
        keep, self.rejected = reject_outliers(codec, self.windows, episodes, self.state, {"action": self.executed, "advice": self.expert})
        self.index = WindowIndex(episodes, window, sampling, keep)
        indices = sorted(dataset.tasks)
        self.text, self.empty_text = text.encode([dataset.tasks[i] for i in indices]), text.encode([""])[0]
        self.text_of_row = torch.from_numpy(np.searchsorted(indices, columns[TASK_INDEX].astype(np.int64)))

    def batch(self, stream: Stream, step: int, part: slice = slice(None)) -> Batch:
        """The samples of a stream at training step `step`; `part` selects a worker's share."""
        return self.gather(self.rows(stream, step, part))

    def rows(self, stream: Stream, step: int, part: slice = slice(None)) -> Rows:
        """Global rows of the current frames of that batch's samples, shape (b,)."""
        return self.index.rows(stream, step)[part]

    def kinds(self, rows: Rows) -> NDArray[np.int64]:
        """The kind of episode that each sample comes from, as its place in `KINDS`, shape (b,)."""
        return np.array([KINDS.index(self.windows.episodes[i].kind) for i in self.windows.episode_of(rows)], np.int64)

    def describe(self, rows: Rows) -> list[str]:
        """Each sample by the numbers under which a person finds it in the dataset."""
        episodes = [self.windows.episodes[i] for i in self.windows.episode_of(rows)]
        return [f"{row} (episode {e.index}, frame {row - e.start})" for row, e in zip(rows.tolist(), episodes, strict=True)]

    def gather(self, rows: Rows) -> Batch:
        """The samples whose current frames are the global `rows`."""
        at = self.windows.resolve(rows)
        frames = np.concatenate([at.memory, at.current[:, None], at.future], axis=1)
        latents = np.stack([array[frames] for array in self.latents], axis=1)
        actions = torch.from_numpy(at.actions)
        state = self.state[rows]
        target = self.codec.encode(self.expert[actions], state)
        mask = rearrange(torch.from_numpy(at.action_mask), "b ha -> b ha 1").expand_as(target)
        return Batch(
            latents=rearrange(torch.from_numpy(latents), "b v f z h w -> b v z f h w").float(),
            text=self.text[self.text_of_row[rows]],
            state=self.codec.encode_state(state),
            target_actions=target,
            executed_actions=self.codec.encode(self.executed[actions], state),
            progress=self.progress[actions],
            view_mask=torch.ones(len(rows), len(self.latents), dtype=torch.bool),
            video_mask=torch.from_numpy(at.video_mask),
            action_mask=mask,
            state_mask=torch.ones_like(state, dtype=torch.bool),
            executed_mask=torch.ones_like(state, dtype=torch.bool),
            progress_mask=torch.from_numpy(at.progress_mask),
            weights=torch.ones(len(rows), len(SIGNALS)),
        )
