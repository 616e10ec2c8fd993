"""Distances between pictures: closed forms, and the numbers of other implementations."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tau0.evaluate import simulator_distance
from tau0.evaluate.simulator_distance import PerceptualDistance, PerceptualWeightsError, load_perceptual, psnr, ssim


def smooth_pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of two slopes and a saddle, and its mirror image with waves."""
    slope = torch.arange(48.0) / 47 * 2 - 1
    down, across = slope[:, None].expand(48, 48), slope[None].expand(48, 48)
    first = torch.stack([down, across, down * across])[None]
    return first, first.flip(-1) * 0.8 + 0.1 * torch.sin(9 * first)


@pytest.fixture(scope="module")
def perceptual() -> PerceptualDistance:
    found = load_perceptual()
    if found is None:
        pytest.skip("the extra `report` is not installed: the perceptual distance has no weights")
    return found


def test_psnr_of_a_known_error_and_of_none():
    picture = torch.zeros(1, 3, 4, 4)
    assert float(psnr(picture, picture + 0.2)) == pytest.approx(20.0, abs=1e-5)
    assert float(psnr(picture, picture)) == pytest.approx(10 * math.log10(12 * 255**2), abs=1e-9)
    first, second = smooth_pair()
    assert float(psnr(first, second)) == pytest.approx(9.04714, abs=1e-4)


def test_ssim_is_the_papers():
    first, second = smooth_pair()
    torchmetrics_where_the_window_fits = 0.3509
    assert float(ssim(first, second)) == pytest.approx(torchmetrics_where_the_window_fits, abs=1e-4)
    assert float(ssim(first, first)) == pytest.approx(1.0, abs=1e-5)
    both = ssim(torch.cat([first, second]), torch.cat([second, second]))
    assert both.tolist() == pytest.approx([float(ssim(first, second)), 1.0], abs=1e-5)
    with pytest.raises(ValueError, match="at least 11 pixels a side, got 10 x 48"):
        ssim(first[..., :10, :], second[..., :10, :])


def test_perceptual_distance_is_the_packages(perceptual: PerceptualDistance):
    first, second = smooth_pair()
    seen = perceptual.features(torch.cat([first, second]))
    one, other = [layer[:1] for layer in seen], [layer[1:] for layer in seen]
    computed_by_stlpips_pytorch = 0.7806
    assert float(perceptual.between(one, other)) == pytest.approx(computed_by_stlpips_pytorch, abs=1e-4)
    assert float(perceptual.between(one, one)) == 0.0


def test_perceptual_distance_forgives_a_shift_of_a_pixel_and_not_noise(perceptual: PerceptualDistance):
    first = smooth_pair()[0]
    noisy = first + 0.3 * torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    features = [perceptual.features(picture) for picture in (first, first.roll(1, -1), noisy)]
    shifted, disturbed = (float(perceptual.between(features[0], other)) for other in features[1:])
    assert shifted < 0.5 * disturbed


def test_foreign_weights_are_not_loaded(perceptual: PerceptualDistance, monkeypatch: pytest.MonkeyPatch):
    assert perceptual is not None
    monkeypatch.setattr(simulator_distance, "_WEIGHTS", Path("stlpips.py"))
    with pytest.raises(PerceptualWeightsError, match=r"stlpips\.py is not the file"):
        load_perceptual()


def test_without_the_package_there_is_no_distance(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simulator_distance, "_PACKAGE", "no_such_package_at_all")
    assert load_perceptual() is None
