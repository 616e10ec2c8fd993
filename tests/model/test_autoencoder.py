from __future__ import annotations

import numpy as np
import pytest
import torch
from einops import einsum, rearrange

from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.train.autoencoder import rarity_weights

CONFIG = AutoencoderConfig(latent_channels=5, stride=8, width=8)


def autoencoder(config: AutoencoderConfig = CONFIG) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(config).eval()


def images_of_rank(rank: int, num: int = 24, side: int = 16) -> torch.Tensor:
    """Pictures whose patches are one mean patch plus combinations of `rank` others."""
    generator = torch.Generator().manual_seed(rank)
    p = CONFIG.stride
    patches = torch.randn(rank + 1, 3, p, p, generator=generator)
    amounts = torch.randn(num, side // p, side // p, rank + 1, generator=generator)
    amounts[..., 0] = 1.0
    return 0.2 * rearrange(einsum(amounts, patches, "n h w r, r c p q -> n c h p w q"), "n c h p w q -> n c (h p) (w q)")


@torch.no_grad()
def test_start_from_pca_rebuilds_what_has_few_components_exactly():
    model, images = autoencoder(), images_of_rank(CONFIG.latent_channels)
    model.start_from_pca(images, torch.ones(len(images), *images.shape[2:]))
    torch.testing.assert_close(model.from_raw(model.to_raw(images)), images, atol=1e-5, rtol=0)


@torch.no_grad()
def test_start_from_pca_is_as_good_as_the_components_allow():
    model, images = autoencoder(), images_of_rank(9)
    model.start_from_pca(images, torch.ones(len(images), *images.shape[2:]))
    error = (model.from_raw(model.to_raw(images)) - images).square().sum(dim=(1, 2, 3)).sum()
    patches = rearrange(images, "n c (h p) (w q) -> (n h w) (c p q)", p=8, q=8).double()
    lost = torch.linalg.svdvals(patches - patches.mean(dim=0))[CONFIG.latent_channels :].square().sum()
    assert float(error) == pytest.approx(float(lost), rel=1e-4)
    raw = model.to_raw(images)
    assert raw.mean(dim=(0, 2, 3)).abs().max() < 1e-5


@torch.no_grad()
def test_pca_rebuilds_better_where_weights_are_high():
    images = images_of_rank(12)
    heavy = torch.ones(len(images), *images.shape[2:])
    heavy[: len(images) // 2] = 50.0
    errors = []
    for weights in (torch.ones_like(heavy), heavy):
        model = autoencoder()
        model.start_from_pca(images, weights)
        errors.append((model.from_raw(model.to_raw(images)) - images)[: len(images) // 2].square().mean())
    assert errors[1] < errors[0]


@torch.no_grad()
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_shapes_there_and_back(stride: int):
    model = autoencoder(AutoencoderConfig(latent_channels=5, stride=stride, width=8))
    video = torch.rand(2, 3, 4, 32, 48) * 2 - 1
    latents = model.encode(video)
    assert latents.shape == (2, 5, 4, 32 // stride, 48 // stride)
    assert model.decode(latents).shape == video.shape
    assert model.stride == (1, stride, stride)


@torch.no_grad()
def test_statistics_make_unit_variance_and_cancel():
    model, images = autoencoder(), images_of_rank(CONFIG.latent_channels)
    model.start_from_pca(images, torch.ones(len(images), *images.shape[2:]))
    raw = model.to_raw(images)
    model.mean.copy_(raw.mean(dim=(0, 2, 3)))
    model.std.copy_(raw.std(dim=(0, 2, 3)))
    video = rearrange(images, "n c h w -> n c 1 h w")
    latents = model.encode(video)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3, 4)), torch.ones(CONFIG.latent_channels))
    torch.testing.assert_close(model.decode(latents), video, atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_frame_is_encoded_alone():
    model, video = autoencoder(), torch.rand(1, 3, 3, 16, 16)
    torch.testing.assert_close(model.encode(video)[:, :, 1:2], model.encode(video[:, :, 1:2]))


@pytest.mark.parametrize("stride", [2, 6, 12])
def test_stride_must_be_a_power_of_two(stride: int):
    with pytest.raises(ValueError, match=f"stride {stride} is not a power of two"):
        Autoencoder(AutoencoderConfig(latent_channels=4, stride=stride))


def test_rare_colours_weigh_more_and_the_mean_is_one():
    pixels = np.full((4, 10, 10, 3), 200, np.uint8)
    pixels[:, :2, :2] = (255, 0, 0)
    pixels[0, 9, 9] = (0, 0, 255)
    weights = rarity_weights(pixels, exponent=0.5)
    table, ball, speck = weights[0, 5, 5], weights[0, 0, 0], weights[0, 9, 9]
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-5)
    assert table < ball < speck
    assert float(ball / table) == pytest.approx((383 / 16) ** 0.5, rel=1e-3)
    assert torch.equal(rarity_weights(pixels, exponent=0.0), torch.ones(4, 10, 10))
