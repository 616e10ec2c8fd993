"""What a batch may teach: which of its numbers, how many, and nothing of the rest (SPEC.md section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.data.description import SIGNALS, Signal
from tau0.data.index import Stream
from tau0.tensors import Batch
from tau0.views import canvas_mask

TERM_SIGNALS: Mapping[str, Signal] = MappingProxyType(
    {"policy_video": "video", "action": "action", "simulator_video": "dynamics", "progress": "progress"}
)
"""Terms of the objective, and whose weight each has."""


def blanked(batch: Batch) -> Batch:
    """The batch with zeros in the place of all that is masked, so that nothing can depend on it, not even if it is not a number."""
    seen = rearrange(batch.view_mask, "b v -> b v 1 1 1 1")
    num_clean = batch.latents.shape[3] - batch.video_mask.shape[1]
    known = torch.nn.functional.pad(batch.video_mask, (num_clean, 0), value=True)
    return replace(
        batch,
        latents=_kept(batch.latents, seen & rearrange(known, "b f -> b 1 1 f 1 1")),
        state=_kept(batch.state, batch.state_mask),
        target_actions=_kept(batch.target_actions, batch.action_mask),
        executed_actions=_kept(batch.executed_actions, rearrange(batch.executed_mask, "b de -> b 1 de")),
        progress=_kept(batch.progress, batch.progress_mask),
    )


def seen_columns(batch: Batch) -> Bool[Tensor, "b vw"] | None:
    """Which columns of the canvas hold a camera that exists; None where all do.

    Raises:
        ValueError: When a sample has no camera: there would be nothing to attend to.
    """
    if bool(batch.view_mask.all()):
        return None
    if blind := (~batch.view_mask.any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(f"samples {blind} of the batch have no camera, each needs at least one")
    return canvas_mask(batch.view_mask, batch.latents.shape[-1])


def supervised(stream: Stream, batch: Batch) -> dict[str, Bool[Tensor, "b *shape"]]:
    """By term of the stream's objective, what it may learn: pictures by frame and view, actions by step and number, progress by step."""
    pictures = rearrange(batch.video_mask, "b f -> b f 1") & rearrange(batch.view_mask, "b v -> b 1 v")
    if stream == "policy":
        return {"policy_video": pictures, "action": batch.action_mask}
    told = batch.executed_mask.any(dim=1)
    return {"simulator_video": pictures & rearrange(told, "b -> b 1 1"), "progress": batch.progress_mask & rearrange(told, "b -> b 1")}


def count_supervised(stream: Stream, batch: Batch) -> dict[str, int]:
    """How many of them there are, by term."""
    return {term: int(mask.sum()) for term, mask in supervised(stream, batch).items()}


def weight_of(term: str, batch: Batch) -> Float[Tensor, " b"]:
    """How much each sample counts in a term."""
    return batch.weights[:, SIGNALS.index(TERM_SIGNALS[term])]


def _kept(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
