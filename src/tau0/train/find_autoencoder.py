"""The autoencoder that a person names by a folder: in a checkpoint, in a training run, or the published one in diffusers' form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tau0.checkpoint import AUTOENCODER_NAME, CONFIG_NAME, CheckpointConfig, CheckpointError, config_from_json
from tau0.contract import Camera
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.encoders import FOLDER_VARIABLE, LAYOUT, TEXT, TOKENIZER, VAE, PublishedEncoders
from tau0.model.text import CachedText, TextEncoder
from tau0.model.umt5 import UMT5
from tau0.model.wan_vae import wan_autoencoder_config
from tau0.train.encode_worker import OwnAutoencoder, PublishedAutoencoder
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.stage_one import load_autoencoder

TEXT_LENGTH = 512


@dataclass(frozen=True, kw_only=True)
class FoundAutoencoder:
    """An autoencoder, and what lies beside it.

    Attributes:
        autoencoder: To be handed to workers.
        facts: Of it.
        cameras: Of the robot that it was trained for, in the order of the canvas; none where that is not said.
        text: The text encoder, where its features are worth keeping: not our own, which is as fast as reading a file.
    """

    autoencoder: OwnAutoencoder | PublishedAutoencoder
    facts: EncoderFacts
    cameras: tuple[Camera, ...] = ()
    text: TextEncoder | None = None


def find_autoencoder(folder: Path, published: PublishedEncoders, text_length: int = TEXT_LENGTH) -> FoundAutoencoder:
    """The autoencoder in a folder.

    Args:
        folder: A checkpoint, a training run, the `autoencoder` in a run, Wan 2.2 in diffusers' form, or its `vae` alone.
        published: Where published encoders lie, for a checkpoint that names them, and where features of texts are kept.
        text_length: Tokens that the published text encoder pads to, where no checkpoint says so.

    Raises:
        CheckpointError: When there is no such thing, or it cannot be read.
        EncoderFolderError: When a published encoder is not whole, or not the one that is wanted.
        ModuleNotFoundError: When a published encoder needs a package that is not installed.
    """
    if _is_published(folder / VAE):
        text = UMT5(folder / TEXT, folder / TOKENIZER, text_length) if (folder / TEXT).is_dir() else None
        return _published(folder / VAE, text=None if text is None else CachedText(text, published.cache))
    if _is_published(folder):
        return _published(folder)
    for place in (folder, folder / "checkpoint"):
        if (place / CONFIG_NAME).is_file():
            return _of_checkpoint(place, published)
    for place in (folder, folder / "autoencoder"):
        if (place / AUTOENCODER_NAME).is_file():
            return _own(place, _config(place / AUTOENCODER_NAME))
    raise CheckpointError(f"{folder} holds no autoencoder: expected a checkpoint, a run of `tau0 train`, or Wan 2.2 in diffusers' form")


def _is_published(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "_class_name" in config


def _published(folder: Path, cameras: tuple[Camera, ...] = (), text: TextEncoder | None = None) -> FoundAutoencoder:
    config = wan_autoencoder_config(folder)
    autoencoder = PublishedAutoencoder(config=config, folder=folder.absolute())
    return FoundAutoencoder(autoencoder=autoencoder, facts=EncoderFacts.of(config), cameras=cameras, text=text)


def _of_checkpoint(folder: Path, published: PublishedEncoders) -> FoundAutoencoder:
    config: CheckpointConfig = config_from_json((folder / CONFIG_NAME).read_bytes(), str(folder / CONFIG_NAME))
    cameras, trunk = config.embodiment.cameras, config.model.trunk
    if isinstance(config.autoencoder, AutoencoderConfig):
        return _own(folder, config.autoencoder, cameras)
    if published.folder is None:
        named = config.autoencoder.identity
        raise CheckpointError(f"{folder} does not carry the Wan video autoencoder {named}: set {FOLDER_VARIABLE} to {LAYOUT}")
    text = published.text(config.text, trunk.text_width, trunk.text_length)
    found = _published(published.folder / VAE, cameras, text)
    if found.facts != (wanted := EncoderFacts.of(config.autoencoder)):
        raise CheckpointError(
            f"{published.folder / VAE} is {found.facts.identity}, the checkpoint {folder} was trained with {wanted.identity}"
        )
    return found


def _own(folder: Path, config: AutoencoderConfig, cameras: tuple[Camera, ...] = ()) -> FoundAutoencoder:
    autoencoder: Autoencoder = load_autoencoder(config, folder)
    return FoundAutoencoder(autoencoder=OwnAutoencoder.of(autoencoder), facts=EncoderFacts.of(autoencoder), cameras=cameras)


def _config(path: Path) -> AutoencoderConfig:
    """The shape of our own autoencoder, from the shapes of its tensors: a run's folder does not say it otherwise."""
    try:
        with safe_open(path, "pt") as file:
            channels, _, stride, _ = file.get_slice("to_latent.weight").get_shape()
            width = file.get_slice("encoder.1.weight").get_shape()[0]
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is not an autoencoder of ours: {error}") from None
    return AutoencoderConfig(latent_channels=channels, stride=stride, width=width)
