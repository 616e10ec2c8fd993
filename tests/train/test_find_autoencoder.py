"""Autoencoders by the folder that a person names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_wan import CHANNELS, save_small_vae
from safetensors.torch import save_file

from tau0.checkpoint import AUTOENCODER_NAME, Checkpoint, CheckpointError, save
from tau0.model.autoencoder import Autoencoder
from tau0.model.encoders import PublishedEncoders
from tau0.model.wan_vae import WanAutoencoder
from tau0.train.encode_worker import PublishedAutoencoder
from tau0.train.find_autoencoder import find_autoencoder
from tau0.train.picture_encoder import EncoderFacts
from tiny import EMBODIMENT

NOWHERE = PublishedEncoders()


def test_in_a_checkpoint_a_run_or_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save(checkpoint, tmp_path / "run" / "checkpoint")
    alone = tmp_path / "other" / "autoencoder"
    alone.mkdir(parents=True)
    save_file(checkpoint.autoencoder.state_dict(), alone / AUTOENCODER_NAME)
    facts = EncoderFacts.of(checkpoint.autoencoder)
    for folder, cameras in (
        (tmp_path / "run", EMBODIMENT.cameras),
        (tmp_path / "run" / "checkpoint", EMBODIMENT.cameras),
        (alone, ()),
        (alone.parent, ()),
    ):
        found = find_autoencoder(folder, NOWHERE)
        assert (found.facts, found.cameras, found.text) == (facts, cameras, None)
    network = found.autoencoder.load()
    assert isinstance(network, Autoencoder)
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), checkpoint.autoencoder.state_dict().values(), strict=True))


def test_the_published_one(tmp_path: Path) -> None:
    folder = save_small_vae(tmp_path / "vae")
    for place in (folder, tmp_path):
        found = find_autoencoder(place, NOWHERE)
        assert isinstance(found.autoencoder, PublishedAutoencoder)
        assert (found.facts.stride, found.facts.latent_channels, found.text) == ((4, 16, 16), CHANNELS, None)
    assert isinstance(found.autoencoder.load(), WanAutoencoder)


def test_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no autoencoder: expected a checkpoint, a run of `tau0 train`"):
        find_autoencoder(tmp_path, NOWHERE)
    save_file({"x": torch.zeros(1)}, tmp_path / AUTOENCODER_NAME)
    with pytest.raises(CheckpointError, match="is not an autoencoder of ours"):
        find_autoencoder(tmp_path, NOWHERE)
