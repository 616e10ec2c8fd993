from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.contract import ContractError, Observation
from tau0.views import canvas_mask, canvas_to_views, pixels_to_tensor, resize_pixels, stack_views, tensor_to_pixels, views_to_canvas
from tiny import EMBODIMENT


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_canvas_there_and_back(b: int, v: int, f: int, h: int, w: int):
    views = torch.randn(b, v, 2, f, h, w, generator=torch.Generator().manual_seed(0))
    canvas = views_to_canvas(views)
    assert canvas.shape == (b, 2, f, h, v * w)
    assert torch.equal(canvas_to_views(canvas, v), views)


def test_views_lie_side_by_side_in_order():
    views = torch.stack([torch.full((1, 1, 2, 3), float(v)) for v in range(3)])[None]
    assert views_to_canvas(views)[0, 0, 0].tolist() == [[0.0] * 3 + [1.0] * 3 + [2.0] * 3] * 2


def test_mask_covers_the_columns_of_a_missing_camera():
    assert canvas_mask(torch.tensor([[True, False], [False, True]]), 2).tolist() == [[True, True, False, False], [False, False, True, True]]


def test_every_pixel_value_there_and_back_exactly():
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)[..., :3].repeat(2, axis=0)
    pixels = np.concatenate([pixels, np.arange(256, dtype=np.uint8).reshape(16, 8, 2)[..., [0, 1, 1]]], axis=1)
    tensor = pixels_to_tensor(pixels)
    assert tensor.shape == (3, 16, 16)
    assert float(pixels_to_tensor(np.zeros((1, 1, 3), np.uint8)).min()) == -1
    assert float(pixels_to_tensor(np.full((1, 1, 3), 255, np.uint8)).max()) == 1
    assert (tensor_to_pixels(tensor) == pixels).all()
    assert set(pixels.reshape(-1).tolist()) == set(range(256))


def test_what_lies_outside_the_range_is_clipped():
    assert tensor_to_pixels(torch.tensor([-3.0, 0.0, 3.0]).reshape(3, 1, 1)).tolist() == [[[0, 128, 255]]]


def test_cameras_are_stacked_in_the_embodiments_order():
    observation = Observation.fake(EMBODIMENT, seed=1)
    swapped = replace(observation, images={name: observation.images[name] for name in ("wrist", "front")})
    stacked = stack_views(swapped, EMBODIMENT)
    assert torch.equal(stacked[0], pixels_to_tensor(observation.images["front"]))
    assert torch.equal(stacked[1], pixels_to_tensor(observation.images["wrist"]))


def test_observation_without_a_camera_is_refused():
    observation = Observation.fake(EMBODIMENT)
    with pytest.raises(ContractError, match=r"lacks camera 'wrist'; it has \['front'\]"):
        stack_views(replace(observation, images={"front": observation.images["front"]}), EMBODIMENT)


def test_resizing_to_the_size_that_is_there_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 10, 14, 3), np.uint8)
    assert resize_pixels(pixels, 10, 14) is pixels


def test_resizing_keeps_the_whole_picture_and_averages():
    left, right = np.full((3, 8, 8, 3), 40, np.uint8), np.full((3, 8, 8, 3), 200, np.uint8)
    halves = resize_pixels(np.concatenate([left, right], axis=2), 4, 4)
    assert halves.shape == (3, 4, 4, 3)
    assert halves[:, :, 0].tolist() == [[[40] * 3] * 4] * 3
    assert halves[:, :, -1].tolist() == [[[200] * 3] * 4] * 3
    checks = np.indices((64, 64)).sum(axis=0)[..., None].repeat(3, axis=-1) % 2 * 255
    assert np.ptp(resize_pixels(checks.astype(np.uint8), 8, 8)) <= 2


def test_resized_bytes_are_those_of_the_exact_picture():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 24, 40, 3), np.uint8)
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).double(), (24, 32), mode="bilinear", antialias=True, align_corners=False
    )
    assert np.abs(resize_pixels(pixels, 24, 32) - exact.permute(0, 2, 3, 1).numpy()).max() <= 1
