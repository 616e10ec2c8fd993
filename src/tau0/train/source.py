"""Batches of samples from any number of sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from tau0.actions import ActionCodec
from tau0.data.catalogue import KINDS, EpisodeInfo
from tau0.data.index import SampledSource, SampleIndex, SamplingSpec, Stream, streams_of
from tau0.data.split import Split
from tau0.data.windows import Rows, WindowSpec
from tau0.model.text import TextEncoder
from tau0.tensors import Batch
from tau0.train.samples import Ingredient, SourceSamples

__all__ = ["Ingredient", "TrainingSource"]


class TrainingSource:
    """The samples of one split of a mixture, as batches that are a pure function of (seed, step).

    A sample is named by its global row: rows of a source follow those of the sources before it.

    Attributes:
        index: Which samples a step sees.
        empty_text: Features of "", which stand for a dropped instruction, shape (l, c).
        labels: What `label_of` counts: kinds of episodes, with the name of their source where there are several.
    """

    def __init__(
        self,
        ingredients: Sequence[Ingredient],
        text: TextEncoder,
        window: WindowSpec,
        sampling: SamplingSpec,
        split: Split = "train",
        policy_dim: int | None = None,
    ) -> None:
        """Opens the samples of a split.

        Args:
            ingredients: The sources, at least one, of one layout.
            text: Of their instructions.
            window: The shape of a sample.
            sampling: What a step sees.
            split: Which episodes.
            policy_dim: See `SourceSamples`.

        Raises:
            DatasetError: When a stream with a batch size > 0 has no sample.
        """
        self._samples = [SourceSamples(ingredient, window, text, policy_dim) for ingredient in ingredients]
        self._episodes = [ingredient.episodes(split) for ingredient in ingredients]
        sampled = [_sampled(i, episodes) for i, episodes in zip(ingredients, self._episodes, strict=True)]
        self.index = SampleIndex(sampled, window, sampling)
        self.empty_text: Float[Tensor, "l c"] = text.encode([""])[0]
        names = [f"{ingredient.name}/" if len(ingredients) > 1 else "" for ingredient in ingredients]
        self.labels = tuple(f"{name}{kind}" for name in names for kind in KINDS)

    @property
    def sources(self) -> tuple[SourceSamples, ...]:
        """The samples of every source, by their rows there."""
        return tuple(self._samples)

    def episodes(self, source: int = 0) -> tuple[EpisodeInfo, ...]:
        """The split's episodes of one source, with their rows there."""
        return self._episodes[source]

    def batch(self, stream: Stream, step: int, part: slice = slice(None)) -> Batch:
        """The samples of a stream at training step `step`; `part` selects a worker's share."""
        return self.gather(self.rows(stream, step, part), step)

    def rows(self, stream: Stream, step: int, part: slice = slice(None)) -> Rows:
        """Global rows of the current frames of that batch's samples, shape (b,)."""
        return self.index.rows(stream, step)[part]

    def gather(self, rows: Rows, epoch: int = 0) -> Batch:
        """The samples whose current frames are the global `rows`. See `SourceSamples.gather`."""
        source, local = self.index.locate(rows)
        if len(self._samples) == 1:
            return self._samples[0].gather(local, epoch)
        order = np.argsort(source, kind="stable")
        parts = [self._samples[number].gather(local[source == number], epoch) for number in np.unique(source)]
        joined = {own.name: torch.cat([getattr(part, own.name) for part in parts]) for own in fields(Batch)}
        return Batch(**joined)[torch.from_numpy(np.argsort(order))]

    def state(self, row: int) -> Float[Tensor, " ds"]:
        """Of one global row, in robot units, as the policy's robot has it."""
        ((source, local),) = self._located(np.array([row]))
        return self._samples[source].state(local)

    def whole_windows(self, codec: ActionCodec) -> Rows:
        """Global rows of the policy's samples of the robot with this codec, with all cameras, that may be imitated to their end."""
        rows = self.index.samples("policy")
        number, local = self.index.locate(rows)
        is_whole = np.zeros(len(rows), np.bool_)
        for i, samples in enumerate(self._samples):
            if samples.is_complete and samples.policy_codec == codec:
                here = number == i
                is_whole[here] = samples.windows.resolve(local[here]).action_mask.all(axis=1)
        return rows[is_whole]

    def label_of(self, rows: Rows) -> NDArray[np.int64]:
        """Source and kind of episode of each sample, as its place in `labels`, shape (b,)."""
        return np.array([len(KINDS) * n + KINDS.index(self._episode(n, row).kind) for n, row in self._located(rows)], np.int64)

    def describe(self, rows: Rows) -> list[str]:
        """Each sample by the numbers under which a person finds it."""
        many = len(self._samples) > 1
        found = zip(rows.tolist(), self._located(rows), strict=True)
        return [f"{r} ({f'{self._samples[n].ingredient.name}, ' * many}{self._samples[n].describe(row)})" for r, (n, row) in found]

    def _located(self, rows: Rows) -> list[tuple[int, int]]:
        source, local = self.index.locate(rows)
        return list(zip(source.tolist(), local.tolist(), strict=True))

    def _episode(self, source: int, row: int) -> EpisodeInfo:
        samples = self._samples[source]
        return samples.ingredient.aligned.episodes[int(samples.windows.episode_of(np.array([row]))[0])]


def _sampled(ingredient: Ingredient, episodes: Sequence[EpisodeInfo]) -> SampledSource:
    aligned = ingredient.aligned
    return SampledSource(
        name=ingredient.name,
        episodes=episodes,
        num_rows=aligned.num_rows,
        streams=streams_of(aligned.description),
        weight=ingredient.weight,
        hours=sum(episode.length for episode in episodes) / aligned.rate_hz / 3600,
        rejected=ingredient.rejected,
    )
