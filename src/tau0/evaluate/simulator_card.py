"""How good a checkpoint's simulator is on held-out windows: its futures, whether actions matter to it, and its sense of progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.data.catalogue import KINDS, EpisodeInfo
from tau0.data.windows import Rows
from tau0.evaluate.simulator_progress import progress_card
from tau0.evaluate.simulator_results import ActionCard, FutureCard, SimulatorCard
from tau0.evaluate.simulator_windows import CardWindows, WindowErrors, choose_windows, derangement, next_in_group, window_errors
from tau0.evaluate.statistics import Interval, clustered_interval
from tau0.simulate.simulator import denoise_futures, picture_solvers, ranking_solvers
from tau0.tensors import Batch
from tau0.views import canvas_mask, views_to_canvas

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CardSpec:
    """What is measured.

    Attributes:
        per_kind: Windows of each kind of episode, at most.
        batch: Windows imagined together.
        has_pictures: Whether the many-step sampler is measured as well, five times the work.
        seed: Of windows, noise, swaps and intervals.
    """

    per_kind: int = 120
    batch: int = 32
    has_pictures: bool = False
    seed: int = 0


def measure_simulator(
    checkpoint: Checkpoint,
    gather: Callable[[Rows], Batch],
    episodes: Sequence[EpisodeInfo],
    spec: CardSpec | None = None,
    on_progress: Callable[[float], None] = lambda _fraction: None,
) -> SimulatorCard:
    """The card of a checkpoint, the same for the same windows and seed.

    Args:
        checkpoint: Its simulator is measured with the averaged weights it ships.
        gather: The samples whose current frames are the given global rows, memory frames included.
        episodes: Those that were held out from training.
        spec: What to measure.
        on_progress: Gets the share done.

    Raises:
        DatasetError: When the held-out episodes hold no whole window, or too few to swap actions.
    """
    spec = spec or CardSpec()
    rng = np.random.default_rng(spec.seed)
    windows = choose_windows(episodes, checkpoint.config.embodiment.action_horizon - 1, spec.per_kind, rng)
    swaps = {"swapped": derangement(len(windows), rng), "same_state": next_in_group(windows.states)}
    measured = _Measurement(checkpoint, gather, windows, swaps, spec)
    measured.run(on_progress)
    future, copy, families = measured.errors["future"], measured.errors["copy"], windows.families
    moving = _moving(windows.kinds, copy.last)
    return SimulatorCard(
        fingerprint=checkpoint.fingerprint,
        num_windows={kind: int((windows.kinds == kind).sum()) for kind in KINDS},
        num_moving=int(moving.sum()),
        num_episodes=len(np.unique(families)),
        future=_future_card(future, copy, moving, windows, rng),
        picture=_future_card(measured.errors["picture"], copy, moving, windows, rng) if spec.has_pictures else None,
        actions=_action_card(measured.errors, moving, swaps["same_state"], families, rng),
        progress=progress_card(windows, measured.progress, measured.labels, rng),
    )


class _Measurement:
    """Passes over the windows in batches; errors and progress of every window in the end."""

    def __init__(
        self, checkpoint: Checkpoint, gather: Callable[[Rows], Batch], windows: CardWindows, swaps: dict[str, Rows], spec: CardSpec
    ) -> None:
        self._model, self._sampling = checkpoint.simulator, checkpoint.config.sampling
        self._gather, self._windows, self._swaps, self._spec = gather, windows, swaps, spec
        self._parts: dict[str, list[WindowErrors]] = {name: [] for name in ("copy", "future", *swaps)}
        if spec.has_pictures:
            self._parts["picture"] = []
        self._progress: list[Tensor] = []
        self._labels: list[Tensor] = []

    @property
    def errors(self) -> dict[str, WindowErrors]:
        """Of copying, of the simulator, and of the simulator with swapped actions."""
        return {name: WindowErrors.joined(parts) for name, parts in self._parts.items()}

    @property
    def progress(self) -> Values:
        """Predicted curves, shape (windows, ha)."""
        return torch.cat(self._progress).double().numpy()

    @property
    def labels(self) -> Values:
        """True curves, shape (windows, ha)."""
        return torch.cat(self._labels).double().numpy()

    @torch.inference_mode()
    def run(self, on_progress: Callable[[float], None]) -> None:
        """Measures every window."""
        num, size = len(self._windows), self._spec.batch
        for start in range(0, num, size):
            self._batch(np.arange(start, min(start + size, num)))
            on_progress(min(1.0, (start + size) / num))

    def _batch(self, at: Rows) -> None:
        batch = self._gather(self._windows.rows[at])
        canvas = views_to_canvas(batch.latents)
        clean, future = canvas[:, :, : self._sampling.num_memory + 1], canvas[:, :, self._sampling.num_memory + 1 :]
        columns, current = canvas_mask(batch.view_mask, batch.latents.shape[-1]), clean[:, :, -1:]
        video, progress = self._noise(at, future.shape[1:], batch.progress.shape[1])
        mask = None if bool(columns.all()) else columns

        def imagined(actions: Tensor, name: str) -> Tensor:
            solvers = picture_solvers(self._sampling) if name == "picture" else ranking_solvers(self._sampling)
            futures = denoise_futures(self._model, clean, batch.text, actions, video, progress, solvers, mask)
            self._parts[name].append(window_errors(futures.latents, future, current, columns))
            return futures.progress

        self._parts["copy"].append(window_errors(current.expand_as(future), future, current, columns))
        self._progress.append(imagined(batch.executed_actions, "future"))
        self._labels.append(batch.progress)
        for name, swap in self._swaps.items():
            imagined(self._gather(self._windows.rows[swap[at]]).executed_actions, name)
        if self._spec.has_pictures:
            imagined(batch.executed_actions, "picture")

    def _noise(self, at: Rows, video_shape: Sequence[int], horizon: int) -> tuple[Tensor, Tensor]:
        """Noise that depends on seed and physical state alone, not on the batch."""
        video, progress = [], []
        for state in self._windows.states[at].tolist():
            generator = torch.Generator().manual_seed(self._spec.seed * 1_000_003 + state)
            video.append(torch.randn(*video_shape, generator=generator))
            progress.append(torch.randn(horizon, generator=generator))
        return torch.stack(video), torch.stack(progress)


def _moving(kinds: NDArray[np.str_], change: Values) -> NDArray[np.bool_]:
    usual = change[kinds != "failure"]
    return change > np.median(usual if len(usual) else change)


def _gain(error: Values, copy: Values, chosen: NDArray[np.bool_], families: Rows, rng: np.random.Generator) -> Interval:
    """`1 - sum error / sum copy` over the chosen windows."""
    error, copy = error[chosen], copy[chosen]
    return clustered_interval(lambda at: 1 - _ratio(error[at], copy[at]), families[chosen], rng)


def _ratio(numerator: Values, denominator: Values) -> float:
    total = float(denominator.sum())
    return float(numerator.sum()) / total if total > 0 else math.nan


def _future_card(
    error: WindowErrors, copy: WindowErrors, moving: NDArray[np.bool_], windows: CardWindows, rng: np.random.Generator
) -> FutureCard:
    everyone, families, kinds = np.ones(len(windows), np.bool_), windows.families, windows.kinds
    return FutureCard(
        everywhere=_gain(error.everywhere, copy.everywhere, everyone, families, rng),
        moving=_gain(error.everywhere, copy.everywhere, moving, families, rng),
        on_what_moves=_gain(error.on_what_moves, copy.on_what_moves, everyone, families, rng),
        by_kind={kind: _gain(error.everywhere, copy.everywhere, kinds == kind, families, rng) for kind in KINDS if (kinds == kind).any()},
    )


def _action_card(
    errors: dict[str, WindowErrors], moving: NDArray[np.bool_], same_state: Rows, families: Rows, rng: np.random.Generator
) -> ActionCard:
    own = errors["future"].everywhere

    def increase(name: str, chosen: NDArray[np.bool_]) -> Interval:
        swapped, true = errors[name].everywhere[chosen], own[chosen]
        return clustered_interval(lambda at: _ratio(swapped[at], true[at]) - 1, families[chosen], rng)

    has_sibling = same_state != np.arange(len(same_state))
    return ActionCard(
        swapped=increase("swapped", np.ones(len(own), np.bool_)),
        moving=increase("swapped", moving),
        same_state=increase("same_state", has_sibling) if has_sibling.any() else None,
    )
