"""Cameras: order, size, pixel range, and the canvas on which views lie side by side. The only place that knows.

See SPEC.md section 2: views are encoded one by one and laid along the width, without any view embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from tau0.contract import Embodiment, Observation, Pixels


def pixels_to_tensor(pixels: Pixels) -> Float[Tensor, "*n c h w"]:
    """uint8 pictures (..., h, w, c) to [-1, 1], channels first."""
    return rearrange(torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(127.5).sub_(1), "... h w c -> ... c h w")


def tensor_to_pixels(x: Float[Tensor, "*n c h w"]) -> Pixels:
    """Inverse of `pixels_to_tensor`: rounded and clipped to uint8."""
    return rearrange(((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8), "... c h w -> ... h w c").cpu().numpy()


def resize_pixels(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pictures of a camera at the model's size: antialiased bilinear, in bytes. Exactly what was given where the size fits already.

    The whole picture is kept and its sides are scaled each on their own, rather than letterboxed. A camera's distortion is the same in all
    of its frames, so that the model learns it as it learns the lens; bars would take tokens from the picture (a fifth of them, for 16:10
    on a canvas of 4:3), and are a prediction so easy that the video loss looks better than the picture is. Cropping would lose what
    happens at the edge. Bars that a source has itself are its own.

    Args:
        pixels: uint8, shape (..., h, w, c).
        height: Wanted rows.
        width: Wanted columns.

    Returns:
        uint8, shape (..., height, width, c).
    """
    *others, rows, columns, channels = pixels.shape
    if (rows, columns) == (height, width):
        return pixels
    flat = torch.from_numpy(np.ascontiguousarray(pixels)).reshape(-1, rows, columns, channels)
    resized = interpolate(rearrange(flat, "n h w c -> n c h w"), (height, width), mode="bilinear", antialias=True, align_corners=False)
    return rearrange(resized, "n c h w -> n h w c").reshape(*others, height, width, channels).numpy()


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
