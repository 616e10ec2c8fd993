"""The published autoencoder's class at a size for tests: random weights, the published strides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

CHANNELS = 6
SMALL: dict[str, Any] = {
    "base_dim": 8, "decoder_base_dim": 12, "z_dim": CHANNELS, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1, "is_residual": True,
    "temperal_downsample": [False, True, True], "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16,
    "scale_factor_temporal": 4, "latents_mean": [0.1, -0.2, 0.3, 0.0, 0.5, -0.4], "latents_std": [0.5, 1.5, 2.0, 0.7, 1.0, 0.9],
}  # fmt: skip


def save_small_vae(folder: Path) -> Path:
    """Writes it as diffusers does. Skips the test where diffusers is not installed."""
    wan = pytest.importorskip("diffusers.models.autoencoders.autoencoder_kl_wan")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wan.AutoencoderKLWan(**SMALL).eval().save_pretrained(folder)
    return folder
