"""Every held-out window imagined with its own actions and with others, in batches: the raw numbers of a simulator's report card."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.data.windows import Rows
from tau0.evaluate.simulator_chunks import drawn, negated, told_codec, zeroed
from tau0.evaluate.simulator_imagination import Imagination
from tau0.evaluate.simulator_pictures import PictureMeasurement
from tau0.evaluate.simulator_windows import CardWindows, WindowErrors, derangement, next_in_group, window_errors
from tau0.tensors import Batch, Futures
from tau0.views import canvas_mask, views_to_canvas

Values = NDArray[np.float64]

OTHERS = ("swapped", "negated", "zeroed", "drawn")
"""Actions that every window is imagined with besides its own."""


class Passes:
    """What is known of every window after `run`.

    Attributes:
        windows: The windows.
        donors: The window whose actions each window gets when swapped, shape (windows,).
        siblings: For branches another one from the same state; themselves for windows that are alone there, shape (windows,).
        changes: By kind of action, mean squared difference to the future imagined with the own one, shape (windows,).
        num_windows_imagined: All passes together, once each window is also read.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        gather: Callable[[Rows], Batch],
        windows: CardWindows,
        rng: np.random.Generator,
        *,
        seed: int,
        batch: int,
        has_many_steps: bool,
    ) -> None:
        """Reads nothing yet; see `CardSpec` for the last three."""
        self.windows, self._gather, self._size, self._seed = windows, gather, batch, seed
        self.donors, self.siblings = derangement(len(windows), rng), next_in_group(windows.states)
        self._codec, self._num_memory = told_codec(checkpoint.config), checkpoint.config.sampling.num_memory
        self._imagination, self._has_many_steps = Imagination(checkpoint, seed), has_many_steps
        names = ("copy", "future", "same_state", *OTHERS, *(["picture"] if has_many_steps else []))
        self._errors: dict[str, list[WindowErrors]] = {name: [] for name in names}
        self._changes: dict[str, list[Tensor]] = {name: [] for name in OTHERS}
        self._last: dict[str, list[Tensor]] = {name: [] for name in ("future", *OTHERS)}
        self._real: list[Tensor] = []
        self._curves: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._labelled: list[Tensor] = []
        self.num_windows_imagined = len(windows) * (2 + len(OTHERS)) + int((self.siblings != np.arange(len(windows))).sum())

    @property
    def errors(self) -> dict[str, WindowErrors]:
        """Of copying, of the simulator, and of the simulator with other actions; "same_state" of windows with siblings alone."""
        return {name: WindowErrors.joined(parts) for name, parts in self._errors.items() if parts}

    @property
    def changes(self) -> dict[str, Values]:
        """See the class."""
        return {name: torch.cat(parts).numpy() for name, parts in self._changes.items()}

    @property
    def progress(self) -> Values:
        """Predicted curves, shape (windows, ha)."""
        return torch.cat(self._curves).double().numpy()

    @property
    def labels(self) -> Values:
        """True curves, shape (windows, ha)."""
        return torch.cat(self._labels).double().numpy()

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Windows whose progress is known at every step, shape (windows,)."""
        return torch.cat(self._labelled).numpy()

    @property
    def frames(self) -> Float[np.ndarray, "n f d"]:
        """Real latent frames, flat: the current one and the future ones."""
        return torch.cat(self._real).double().numpy()

    @property
    def last(self) -> dict[str, Float[np.ndarray, "n d"]]:
        """The last imagined frame, flat, by kind of action."""
        return {name: torch.cat(parts).double().numpy() for name, parts in self._last.items()}

    @torch.inference_mode()
    def run(self, on_windows: Callable[[int], None], pictures: Mapping[str, PictureMeasurement], shown: NDArray[np.bool_]) -> None:
        """Measures every window.

        Args:
            on_windows: Gets how many windows were dealt with since it was last told.
            pictures: Gets the futures of some windows, by sampler: "future", and "picture" where many steps are measured as well.
            shown: Which, shape (windows,).
        """
        places = np.split(np.arange(len(self.windows)), range(self._size, len(self.windows), self._size))
        batches: list[Batch] = []
        for at in places:
            batches.append(self._gather(self.windows.rows[at]))
            on_windows(len(at))
        executed = torch.cat([batch.executed_actions for batch in batches])
        for at, batch in zip(places, batches, strict=True):
            self._batch(at, batch, executed, pictures, shown[at])
            on_windows(len(at) * (1 + len(OTHERS)) + int((self.siblings[at] != at).sum() + shown[at].sum()))

    def _batch(
        self, at: Rows, batch: Batch, executed: Tensor, pictures: Mapping[str, PictureMeasurement], shown: NDArray[np.bool_]
    ) -> None:
        future, current, columns = self._parts_of(batch)
        self._errors["copy"].append(window_errors(current.expand_as(future), future, current, columns))
        own = self._imagined(at, batch, batch.executed_actions, "future")
        self._curves.append(own.progress)
        self._labels.append(batch.progress)
        self._labelled.append(batch.progress_mask.all(dim=1))
        self._real.append(_flat(torch.cat([current, future], dim=2), columns))
        self._last["future"].append(_flat(own.latents[:, :, -1:], columns)[:, 0])
        for name, actions in self._others(at, batch.executed_actions, executed).items():
            other = self._imagined(at, batch, actions, name).latents
            self._changes[name].append(_difference(other, own.latents, columns))
            self._last[name].append(_flat(other[:, :, -1:], columns)[:, 0])
        if (with_sibling := np.flatnonzero(self.siblings[at] != at)).size:
            some = at[with_sibling]
            self._imagined(some, batch[torch.from_numpy(with_sibling)], executed[self.siblings[some]], "same_state")
        futures = {"future": own}
        if self._has_many_steps:
            futures["picture"] = self._imagined(at, batch, batch.executed_actions, "picture")
        if shown.any():
            some = torch.from_numpy(shown)
            for name, measurement in pictures.items():
                imagined = futures[name].latents[some]
                measurement.add(self.windows.rows[at][shown], current[some], future[some], imagined, batch.view_mask[some])

    def _parts_of(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Future frames and current one on the canvas, and its columns that hold a camera."""
        canvas, now = views_to_canvas(batch.latents), self._num_memory
        return canvas[:, :, now + 1 :], canvas[:, :, now : now + 1], canvas_mask(batch.view_mask, batch.latents.shape[-1])

    def _imagined(self, at: Rows, batch: Batch, actions: Tensor, name: str) -> Futures:
        """The futures of some windows with some actions; their errors are kept under `name`."""
        future, current, columns = self._parts_of(batch)
        clean, states = views_to_canvas(batch.latents)[:, :, : self._num_memory + 1], self.windows.states[at].tolist()
        futures = self._imagination.futures(clean, batch.text, actions, states, columns, has_many_steps=name == "picture")
        self._errors[name].append(window_errors(futures.latents, future, current, columns))
        return futures

    def _others(self, at: Rows, own: Tensor, executed: Tensor) -> dict[str, Tensor]:
        seeds = [self._seed * 1_000_003 + int(row) for row in self.windows.rows[at]]
        chunks = (executed[self.donors[at]], negated(self._codec, own), zeroed(self._codec, own), drawn(own, seeds))
        return dict(zip(OTHERS, chunks, strict=True))


def _flat(frames: Float[Tensor, "n z f h vw"], columns: Bool[Tensor, "n vw"]) -> Float[Tensor, "n f d"]:
    """All numbers of each frame in a row, those of cameras that are not there being 0."""
    return rearrange(frames * rearrange(columns, "n vw -> n 1 1 1 vw"), "n z f h vw -> n f (z h vw)")


def _difference(first: Tensor, second: Tensor, columns: Bool[Tensor, "n vw"]) -> Tensor:
    """Mean squared difference of each window over the columns that hold a camera, shape (n,)."""
    squared = reduce((first - second).double().square(), "n z f h vw -> n vw", "mean")
    return (squared * columns).sum(dim=1) / columns.sum(dim=1)
