"""A world of our own making: the future frames are the current one plus what the actions say. Simulators that know it, or do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat

from tau0.data.catalogue import EpisodeInfo
from tau0.tensors import Batch, VideoFeatures
from tiny import DIM, EMBODIMENT, NUM_FUTURE

HORIZON = EMBODIMENT.action_horizon
VIEWS, CHANNELS, SIDE, MEMORY, TEXT_WIDTH = 2, 6, 4, 3, 384


def held_out() -> tuple[EpisodeInfo, ...]:
    """Three demonstrations, two failures, and two groups of three branches."""
    given: list[dict[str, Any]] = [{"kind": "demonstration", "success": True, "length": 40}] * 3
    given += [{"kind": "failure", "success": False, "length": 40}] * 2
    given += [
        {"kind": "branch", "length": HORIZON, "parent": p, "parent_frame": 4, "group": p, "branch": "wrong"} for p in (0, 0, 0, 1, 1, 1)
    ]
    episodes, start = [], 0
    for index, attributes in enumerate(given):
        episodes.append(EpisodeInfo(index=index, start=start, tasks=("go",), task="go", data_path=Path("none"), videos={}, **attributes))
        start += episodes[-1].length
    return tuple(episodes)


def moved(current: torch.Tensor, actions: torch.Tensor, reach: float = 1.0) -> torch.Tensor:
    """Every future frame of this world, for canvases of one frame."""
    push = reach * rearrange(actions[:, :-1].mean(dim=1), "b da -> b da 1 1 1")
    pushed = torch.nn.functional.pad(push, (0, 0, 0, 0, 0, 0, 0, CHANNELS - DIM))
    return (current + pushed).expand(-1, -1, NUM_FUTURE, -1, -1)


class World:
    """Rows to samples. Windows of one group start alike; a demonstration's progress ends high, a failure's low."""

    def __init__(self, episodes: tuple[EpisodeInfo, ...]) -> None:
        self._episodes = episodes

    def gather(self, rows: np.ndarray) -> Batch:
        samples = [self._sample(int(row)) for row in rows]
        return Batch(**{name: torch.cat([getattr(sample, name) for sample in samples]) for name in Batch.__dataclass_fields__})

    def _sample(self, row: int) -> Batch:
        episode = next(e for e in self._episodes if e.start <= row < e.stop)
        state = torch.Generator().manual_seed(row if episode.group < 0 else 100_000 + episode.group)
        current = torch.randn(1, CHANNELS, 1, SIDE, VIEWS * SIDE, generator=state)
        actions = torch.randn(1, HORIZON, DIM, generator=torch.Generator().manual_seed(row))
        reach = 3.0 if row % 2 else 1.0
        canvas = torch.cat([current.expand(-1, -1, MEMORY + 1, -1, -1), moved(current, actions, reach)], dim=2)
        label = {"demonstration": 0.9, "failure": -1.0}.get(episode.kind, float(actions.mean()))
        return Batch(
            latents=rearrange(canvas, "b z f h (v w) -> b v z f h w", v=VIEWS),
            text=torch.full((1, 2, TEXT_WIDTH), reach),
            state=torch.zeros(1, DIM),
            target_actions=actions,
            executed_actions=actions,
            progress=torch.full((1, HORIZON), label),
            view_mask=torch.ones(1, VIEWS, dtype=torch.bool),
            video_mask=torch.ones(1, NUM_FUTURE, dtype=torch.bool),
            action_mask=torch.ones(1, HORIZON, DIM, dtype=torch.bool),
            state_mask=torch.ones(1, DIM, dtype=torch.bool),
            executed_mask=torch.ones(1, DIM, dtype=torch.bool),
            progress_mask=torch.ones(1, HORIZON, dtype=torch.bool),
            weights=torch.ones(1, 4),
        )


class Knows:
    """Velocities that lead straight to a future of its own: the true one, the current frame, or one that ignores the actions."""

    def __init__(self, knows_actions: bool = True, copies: bool = False) -> None:
        self._knows_actions, self._copies = knows_actions, copies

    def denoise_future(self, latents, timestep, text, actions, progress, progress_timestep, _mask):
        current, noisy = latents[:, :, MEMORY : MEMORY + 1], latents[:, :, MEMORY + 1 :]
        reach = rearrange(text[:, 0, 0], "b -> b 1 1")
        told = actions if self._knows_actions else torch.full_like(actions, 0.1)
        future = current.expand_as(noisy) if self._copies else moved(current, reach * told)
        velocity = (noisy - future) / rearrange(timestep[:, -1:] / 1000, "b 1 -> b 1 1 1 1")
        promise = repeat(actions.mean(dim=(1, 2)), "b -> b ha", ha=HORIZON)
        features = VideoFeatures(velocity=torch.cat([latents[:, :, : MEMORY + 1], velocity], dim=2), hidden=())
        return features, (progress - promise) / rearrange(progress_timestep / 1000, "b -> b 1")
