"""How far a simulator gets on its own: chunk after chunk of recorded actions, each from what it imagined itself, until it breaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.contract import Pixels
from tau0.data.catalogue import EpisodeInfo
from tau0.data.windows import Rows
from tau0.encode import latents_to_frames
from tau0.evaluate.simulator_distance import psnr
from tau0.evaluate.simulator_imagination import Imagination
from tau0.evaluate.simulator_pictures import Recorded
from tau0.evaluate.simulator_rollout_results import RolloutErrors
from tau0.memory import Memory
from tau0.tensors import Batch
from tau0.views import canvas_mask, pixels_to_tensor, views_to_canvas

Gather = Callable[[Rows], Batch]

MIN_CHUNKS = 2
_NOISE_APART = 7919


@dataclass(frozen=True, kw_only=True)
class Film:
    """One rollout to look at: what happened and what was imagined, from one start and by the same actions.

    Attributes:
        title: Which episode.
        seconds: Of every frame, the first being 0.
        real: uint8, shape (frames, v, h, w, 3).
        imagined: The same, the first frame being the real one through the autoencoder.
    """

    title: str
    seconds: tuple[float, ...]
    real: Pixels
    imagined: Pixels


def choose_rollouts(episodes: Sequence[EpisodeInfo], ahead: int, num: int, rng: np.random.Generator) -> list[EpisodeInfo]:
    """At most `num` whole episodes of at least two chunks of `ahead` steps, the longest first. Branches are too short by design."""
    able = [episode for episode in episodes if episode.kind != "branch" and episode.length > MIN_CHUNKS * ahead]
    chosen = [able[i] for i in rng.permutation(len(able))[:num]]
    return sorted(chosen, key=lambda episode: -episode.length)


class Rollouts:
    """Rolls a simulator out from the first frame of every given episode to its end."""

    def __init__(self, checkpoint: Checkpoint, gather: Gather, recorded: Recorded | None, seed: int) -> None:
        self._checkpoint, self._gather, self._recorded = checkpoint, gather, recorded
        self._imagination = Imagination(checkpoint, seed)
        self._ahead = checkpoint.config.embodiment.action_horizon - 1

    @torch.inference_mode()
    def run(self, episodes: Sequence[EpisodeInfo], on_chunk: Callable[[int], None]) -> tuple[RolloutErrors, list[Film]]:
        """Errors of all rollouts, frame by frame, and films of the first three.

        Args:
            episodes: The longest first.
            on_chunk: Gets the number of chunks imagined together.
        """
        chunks = [(episode.length - 1) // self._ahead for episode in episodes]
        runs = [_Run(self._checkpoint.config.sampling.num_memory) for _ in episodes]
        for k in range(max(chunks)):
            able = sum(count > k for count in chunks)
            self._chunk(k, episodes[:able], runs[:able])
            on_chunk(able)
        errors = RolloutErrors(
            seconds=tuple(self._times(max(len(run.errors) for run in runs))[1:]),
            imagined=_padded([run.errors for run in runs]),
            copied=_padded([run.copied for run in runs]),
            late=_padded([run.late for run in runs]),
            **self._in_pictures(episodes, runs),
        )
        return errors, [film for episode, run in list(zip(episodes, runs, strict=True))[:3] if (film := self._film(episode, run))]

    def _chunk(self, k: int, episodes: Sequence[EpisodeInfo], runs: Sequence[_Run]) -> None:
        """Goes on by one chunk; the first one starts from the real frame."""
        start = k * self._ahead
        batch = self._gather(np.array([episode.start + start for episode in episodes], np.int64))
        num_future = self._checkpoint.config.sampling.num_future
        canvas, columns = views_to_canvas(batch.latents), canvas_mask(batch.view_mask, batch.latents.shape[-1])
        truth = canvas[:, :, -num_future:]
        for i, run in enumerate(runs):
            if k == 0:
                run.begin(canvas[i : i + 1, :, -num_future - 1 : -num_future], batch.view_mask[i])
            run.memory.record(start, run.current)
        clean = torch.cat([torch.cat([*run.memory.frames(start), run.current], dim=2) for run in runs])
        noise = [_NOISE_APART * episode.start + k for episode in episodes]
        futures = self._imagination.futures(clean, batch.text, batch.executed_actions, noise, columns).latents
        stills = self._stills(futures, clean[:, :, -1:])
        for i, run in enumerate(runs):
            for j in range(num_future):
                run.memory.record(start + self._ahead * (j + 1) // num_future, stills[i : i + 1, :, j : j + 1])
            run.goes_on(futures[i : i + 1], stills[i : i + 1], truth[i : i + 1], columns[i])

    def _stills(self, futures: Tensor, current: Tensor) -> Float[Tensor, "n z f h vw"]:
        """Imagined frames as the encoder would give them for stills: of sequences, the last picture of each latent frame encoded alone."""
        autoencoder, num_views = self._checkpoint.autoencoder, len(self._checkpoint.config.embodiment.cameras)
        if autoencoder.stride[0] == 1:
            return futures
        pixels = latents_to_frames(self._checkpoint, futures, current)[:, :, autoencoder.stride[0] - 1 :: autoencoder.stride[0]]
        encoded = autoencoder.encode(rearrange(pixels_to_tensor(pixels), "n v f c h w -> (n v f) c 1 h w"))
        return views_to_canvas(rearrange(encoded, "(n v f) z 1 h w -> n v z f h w", v=num_views, f=futures.shape[2]))

    def _times(self, num_latent: int) -> list[float]:
        """Seconds of the first frame and of that many latent frames after it."""
        body, num_future = self._checkpoint.config.embodiment, self._checkpoint.config.sampling.num_future
        return [self._ahead * j / num_future / body.control_hz for j in range(num_latent + 1)]

    def _in_pictures(self, episodes: Sequence[EpisodeInfo], runs: Sequence[_Run]) -> dict[str, NDArray[np.float64]]:
        """PSNR of every imagined frame and of the first one repeated, the mean over views; nothing without recorded pictures."""
        if self._recorded is None:
            return {}
        imagined, copied = [], []
        for episode, run in zip(episodes, runs, strict=True):
            real = pixels_to_tensor(self._real(episode, len(run.errors)))
            shown = pixels_to_tensor(self._shown(run))
            imagined.append(_psnr(shown[1:], real[1:], run.views))
            copied.append(_psnr(shown[:1].expand_as(shown[1:]), real[1:], run.views))
        return {"psnr_imagined": _padded(imagined), "psnr_copied": _padded(copied)}

    def _film(self, episode: EpisodeInfo, run: _Run) -> Film | None:
        if self._recorded is None:
            return None
        return Film(
            title=f"{episode.task}, {episode.behaviour or episode.kind}",
            seconds=tuple(self._times(len(run.errors))),
            real=self._real(episode, len(run.errors)),
            imagined=self._shown(run),
        )

    def _real(self, episode: EpisodeInfo, num_latent: int) -> Pixels:
        """Recorded pictures at the first frame and at every latent frame, (frames, v, h, w, 3)."""
        assert self._recorded is not None
        steps = self._ahead * np.arange(num_latent + 1) // self._checkpoint.config.sampling.num_future
        return self._recorded.pictures(episode.start + steps)

    def _shown(self, run: _Run) -> Pixels:
        """The same of a rollout. Sequences were decoded and encoded again chunk by chunk, so that stills are what there is to show."""
        stills = torch.cat(run.stills, dim=2)
        apart = rearrange(stills, "1 z f h vw -> f z 1 h vw")
        return rearrange(latents_to_frames(self._checkpoint, apart), "f v 1 h w c -> f v h w c")


class _Run:
    """One rollout so far. Latents are canvases with a batch of one."""

    def __init__(self, num_memory: int) -> None:
        self.memory: Memory[Tensor] = Memory(num_memory)
        self.stills: list[Tensor] = []
        self.errors: list[float] = []
        self.copied: list[float] = []
        self.late: list[float] = []
        self.views = torch.ones(0, dtype=torch.bool)

    @property
    def first(self) -> Tensor:
        return self.stills[0]

    @property
    def current(self) -> Tensor:
        return self.stills[-1]

    def begin(self, first: Tensor, views: Bool[Tensor, " v"]) -> None:
        self.stills, self.views, self._seen = [first], views, first

    def goes_on(self, futures: Tensor, stills: Tensor, truth: Tensor, columns: Bool[Tensor, " vw"]) -> None:
        self.errors += _frame_errors(futures, truth, columns)
        self.copied += _frame_errors(self.first.expand_as(truth), truth, columns)
        self.late += _frame_errors(self._seen.expand_as(truth), truth, columns)
        self._seen = truth
        self.stills += stills.split(1, dim=2)


def _frame_errors(predicted: Tensor, truth: Tensor, columns: Tensor) -> list[float]:
    """Mean squared error of each frame over the columns that hold a camera."""
    squared = (predicted - truth).double().square()[..., columns]
    return reduce(squared, "1 z f h vw -> f", "mean").tolist()


def _psnr(shown: Tensor, real: Tensor, views: Tensor) -> list[float]:
    by_view = psnr(rearrange(shown, "t v c h w -> (t v) c h w"), rearrange(real, "t v c h w -> (t v) c h w"))
    return rearrange(by_view, "(t v) -> t v", t=len(shown))[:, views].mean(dim=1).tolist()


def _padded(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """One row each, NaN after its end."""
    width = max(len(row) for row in rows)
    return np.array([[*row, *[math.nan] * (width - len(row))] for row in rows])
