"""A dataset seen through its description: rows at the model's rate, in the model's numbers, with what is known about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tau0.data.align_pass import ARRAYS, Summary, cache_key, fill, load_summary
from tau0.data.catalogue import EpisodeInfo
from tau0.data.description import SourceDescription
from tau0.data.description_check import check_description, check_layout
from tau0.data.episodes import Dataset
from tau0.data.flat_arrays import mapped
from tau0.data.layout import Layout
from tau0.data.parts import presence
from tau0.data.quarantine import Quarantined
from tau0.data.source_statistics import SourceStatistics

FOLDER = ".aligned"
HORIZON = 33


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedSource:
    """One dataset at the model's rate. Arrays are memory-mapped and read-only; a row is a model's instant, not a recording's.

    Attributes:
        dataset: The recording.
        description: What its numbers mean, and what it may supervise.
        layout: The model's numbers, `dim` of them in state and action alike.
        rate_hz: Rows a second.
        episodes: The good ones. `start`, `length`, `parent_frame`, `remaining` and `segments` count model rows, `start` from 0 over
            them; `kind` and `success` are as the description has them; the rest is the recording's own. An episode that was cut at a gap
            of time is there several times, under its own number.
        quarantined: Those left out, and why.
        num_cuts: Gaps of time at which episodes were cut.
        state: Absolute, in the layout's units, float32 of shape (num_rows, dim); 0 where `state_mask` is False.
        action: Executed, absolute, float32 of shape (num_rows, dim); 0 where `action_mask` is False.
        advice: What should have been done, of the same shape; the same array where the recording knows no better.
        state_mask: Which numbers of the state this robot has, shape (dim,).
        action_mask: Which numbers of the action it has, shape (dim,).
        progress: Labels in [-1, 1], float32 of shape (num_rows,).
        progress_mask: Which are known, shape (num_rows,).
        frames: The recording's frame of that episode that is nearest in time, shape (num_rows,); never -1, since episodes are cut at gaps.
        text: Of each row, its instruction's place in `texts`, shape (num_rows,).
        texts: Instructions; "" says nothing, and is to be treated as a dropped caption.
        statistics: Of state and measured actions.
    """

    dataset: Dataset
    description: SourceDescription
    layout: Layout
    rate_hz: float
    episodes: tuple[EpisodeInfo, ...]
    quarantined: tuple[Quarantined, ...]
    num_cuts: int
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    advice: NDArray[np.float32]
    state_mask: NDArray[np.bool_]
    action_mask: NDArray[np.bool_]
    progress: NDArray[np.float32]
    progress_mask: NDArray[np.bool_]
    frames: NDArray[np.int64]
    text: NDArray[np.int64]
    texts: tuple[str, ...]
    statistics: SourceStatistics

    @classmethod
    def open(
        cls,
        dataset: Dataset,
        description: SourceDescription,
        layout: Layout,
        rate_hz: float,
        *,
        cache: Path | None = None,
        action_horizon: int = HORIZON,
        on_episode: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> AlignedSource:
        """Goes through the dataset once, an episode at a time, and never again while nothing changes.

        Args:
            dataset: The recording. Nothing in it is changed.
            description: Of it.
            layout: Of the model.
            rate_hz: Of the model.
            cache: Where what was worked out goes; by default `.aligned` beside the dataset.
            action_horizon: Steps of a window: the statistics of measured actions are over all of them.
            on_episode: Told the episodes done and how many there are.

        Raises:
            ContractError: When dataset, description and layout do not fit each other.
            DatasetError: When no episode can be used or more than half cannot, or the cache cannot be written or is damaged.
            ValueError: When the rate or the horizon is not positive.
        """
        if not rate_hz > 0 or action_horizon < 1:
            raise ValueError(f"rate_hz and action_horizon must be positive, got {rate_hz} and {action_horizon}")
        check_layout(description, layout)
        check_description(description, dataset)
        folder = (dataset.root / FOLDER if cache is None else cache) / cache_key(dataset, description, layout, rate_hz, action_horizon)
        if not folder.is_dir():
            fill(folder, dataset, description, layout, rate_hz, action_horizon, on_episode)
        return cls._load(folder, load_summary(folder, dataset), dataset, description, layout, rate_hz)

    @property
    def num_rows(self) -> int:
        """Rows of all good episodes."""
        return len(self.progress)

    @property
    def hours(self) -> float:
        """How long they last."""
        return self.num_rows / self.rate_hz / 3600

    @classmethod
    def _load(
        cls, folder: Path, summary: Summary, dataset: Dataset, description: SourceDescription, layout: Layout, rate_hz: float
    ) -> AlignedSource:
        rows = summary.episodes[-1].stop
        shapes = {name: (rows, layout.dim) if array.is_wide else (rows,) for name, array in ARRAYS.items()}
        names = [name for name in ARRAYS if name != "advice" or description.advice]
        arrays = {name: mapped(folder / f"{name}.npy", ARRAYS[name].dtype, shapes[name]) for name in names}
        return cls(
            dataset=dataset,
            description=description,
            layout=layout,
            rate_hz=rate_hz,
            episodes=summary.episodes,
            quarantined=summary.quarantined,
            num_cuts=summary.num_cuts,
            state_mask=presence(description.state, layout),
            action_mask=presence(description.action, layout),
            texts=summary.texts,
            statistics=summary.statistics,
            **{"advice": arrays["action"], **arrays},
        )
