"""One question to a simulator, asked the same way everywhere on its report card."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.model.trunk import Words
from tau0.simulate.simulator import denoise_futures, picture_solvers, ranking_solvers
from tau0.tensors import Futures


class Imagination:
    """A checkpoint's simulator, with noise that depends on numbers the caller names and on nothing else."""

    def __init__(self, checkpoint: Checkpoint, seed: int) -> None:
        self._model, self._sampling, self._seed = checkpoint.simulator, checkpoint.config.sampling, seed

    def futures(
        self,
        clean: Float[Tensor, "n z m1 h vw"],
        text: Words,
        actions: Float[Tensor, "n ha da"],
        noise: Sequence[int],
        columns: Bool[Tensor, "n vw"] | None = None,
        has_many_steps: bool = False,
    ) -> Futures:
        """What comes of n observations with a chunk each.

        Args:
            clean: Memory frames and the current one.
            text: Token features.
            actions: Normalised.
            noise: Which noise each starts from: the same number, the same noise.
            columns: Which columns of the canvas hold a camera; None for all.
            has_many_steps: Whether the sampler for pictures is taken instead of the one that ranks.
        """
        n, z, _, h, w = clean.shape
        video, progress = torch.empty(n, z, self._sampling.num_future, h, w), torch.empty(n, actions.shape[1])
        for i, number in enumerate(noise):
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
            video[i] = torch.randn(video.shape[1:], generator=generator)
            progress[i] = torch.randn(actions.shape[1], generator=generator)
        solvers = picture_solvers(self._sampling) if has_many_steps else ranking_solvers(self._sampling)
        mask = None if columns is None or bool(columns.all()) else columns
        return denoise_futures(self._model, clean, text, actions, video, progress, solvers, mask)
