"""Cameras: order, size, pixel range, and the canvas on which views lie side by side. The only place that knows.

See SPEC.md section 2: views are encoded one by one and laid along the width, without any view embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.contract import Embodiment, Observation, Pixels


def pixels_to_tensor(pixels: Pixels) -> Float[Tensor, "*n c h w"]:
    """uint8 pictures (..., h, w, c) to [-1, 1], channels first."""
    return rearrange(torch.from_numpy(np.ascontiguousarray(pixels)).float() / 127.5 - 1, "... h w c -> ... c h w")


def tensor_to_pixels(x: Float[Tensor, "*n c h w"]) -> Pixels:
    """Inverse of `pixels_to_tensor`: rounded and clipped to uint8."""
    return rearrange(((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8), "... c h w -> ... h w c").cpu().numpy()


def stack_views(observation: Observation, embodiment: Embodiment) -> Float[Tensor, "v c h w"]:
    """The observation's pictures in the embodiment's camera order, in [-1, 1]. Raises `ContractError` where one does not fit."""
    observation.check(embodiment)
    return pixels_to_tensor(np.stack([observation.images[camera.name] for camera in embodiment.cameras]))


def views_to_canvas(views: Float[Tensor, "b v z f h w"]) -> Float[Tensor, "b z f h vw"]:
    """Views side by side along the width."""
    return rearrange(views, "b v z f h w -> b z f h (v w)")


def canvas_to_views(canvas: Float[Tensor, "b z f h vw"], num_views: int) -> Float[Tensor, "b v z f h w"]:
    """Inverse of `views_to_canvas`."""
    return rearrange(canvas, "b z f h (v w) -> b v z f h w", v=num_views)


def canvas_mask(view_mask: Bool[Tensor, "b v"], width: int) -> Bool[Tensor, "b vw"]:
    """Which columns of the canvas hold a camera that exists; `width` columns a view."""
    return repeat(view_mask, "b v -> b (v w)", w=width)
