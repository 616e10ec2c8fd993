"""Which encoders a checkpoint is used with. It carries its own, or names published ones by content; the user says where those lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pydantic
from jaxtyping import Float
from torch import Tensor

from tau0.model import umt5
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.encoder_folder import EncoderFolderError
from tau0.model.text import CachedText, SentenceEncoder, TextEncoder
from tau0.model.umt5 import UMT5
from tau0.model.wan_vae import WanAutoencoder, WanAutoencoderConfig, load_wan_autoencoder, wan_autoencoder_config

FOLDER_VARIABLE, CACHE_VARIABLE = "TAU0_WAN", "TAU0_CACHE"
VAE, TEXT, TOKENIZER = "vae", "text_encoder", "tokenizer"
LAYOUT = f"the folder of Wan 2.2 in diffusers' form, with {VAE}, {TEXT} and {TOKENIZER} inside"


def _kind(config: object) -> str:
    """Which of the two a config is, so that a field that does not fit is reported of that one alone."""
    kind = config.get("kind") if isinstance(config, dict) else getattr(config, "kind", None)
    return "own" if kind is None else "wan"


AnyAutoencoderConfig = Annotated[
    Annotated[AutoencoderConfig, pydantic.Tag("own")] | Annotated[WanAutoencoderConfig, pydantic.Tag("wan")], pydantic.Discriminator(_kind)
]
AnyAutoencoder = Autoencoder | WanAutoencoder


@dataclass(frozen=True, kw_only=True)
class PublishedEncoders:
    """Where the published encoders lie on this machine. Nothing that is loaded can say so: only the user does.

    Attributes:
        folder: Of Wan 2.2 as diffusers saves it, with `vae`, `text_encoder` and `tokenizer` inside; None where there is none.
        cache: Where features of texts are kept for good. A machine that knows every text needs no text encoder.
    """

    folder: Path | None = None
    cache: Path | None = None

    @classmethod
    def from_environment(cls) -> PublishedEncoders:
        """What `TAU0_WAN` and `TAU0_CACHE` say; features of texts go under the user's cache folder unless told otherwise."""
        folder, cache = os.environ.get(FOLDER_VARIABLE), os.environ.get(CACHE_VARIABLE)
        root = Path(cache) if cache else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tau0"
        return cls(folder=Path(folder) if folder else None, cache=root / "text")

    def describe(self, text_length: int) -> tuple[WanAutoencoderConfig, str]:
        """What a new checkpoint has to say of these encoders: `autoencoder` and `text` of its config.

        Raises:
            EncoderFolderError: When no folder is given, or it does not hold both.
        """
        folder = self._need("these encoders")
        return wan_autoencoder_config(folder / VAE), UMT5(folder / TEXT, folder / TOKENIZER, text_length).identity

    def autoencoder(self, config: AnyAutoencoderConfig) -> AnyAutoencoder:
        """The autoencoder of that config: our own with fresh weights, or the published one, whole.

        Raises:
            EncoderFolderError: When the published one is not there, or is another one.
            ModuleNotFoundError: When the extra `wan` is needed and not installed.
        """
        if isinstance(config, AutoencoderConfig):
            return Autoencoder(config)
        return load_wan_autoencoder(self._need(f"the Wan video autoencoder {config.identity}") / VAE, config)

    def text(self, identity: str, width: int, length: int) -> TextEncoder:
        """The text encoder of that identity, each text asked at most once.

        Args:
            identity: As in a checkpoint's config.
            width: Of a token's features, for texts that are known without the encoder.
            length: Tokens that every text is padded to.

        Raises:
            EncoderFolderError: When the encoder that is there is another one.
            ModuleNotFoundError: When our own encoder's package is not installed.
        """
        if not identity.startswith(umt5.PREFIX):
            encoder, place = SentenceEncoder(length), "the sentence encoder that is installed"
            cache = None
        elif self.folder is not None and (self.folder / TEXT).is_dir():
            encoder, place = UMT5(self.folder / TEXT, self.folder / TOKENIZER, length), str(self.folder)
            cache = self.cache
        else:
            return CachedText(KnownTexts(identity=identity, width=width, length=length), self.cache)
        if encoder.identity != identity:
            raise EncoderFolderError(f"text encoder is {encoder.identity!r} ({place}), the checkpoint was trained with {identity!r}")
        return CachedText(encoder, cache)

    def _need(self, what: str) -> Path:
        if self.folder is None:
            raise EncoderFolderError(f"a checkpoint does not carry {what}: set {FOLDER_VARIABLE} to {LAYOUT}")
        return self.folder


@dataclass(frozen=True, kw_only=True)
class KnownTexts:
    """Stands for a text encoder whose weights are not on this machine: only what is in the cache can be said."""

    identity: str
    width: int
    length: int

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l c"]:
        """Always raises `EncoderFolderError`: whoever asks wants a text that is not known."""
        raise EncoderFolderError(
            f"the features of {texts[0]!r} are not in the cache, and the text encoder {self.identity!r} is not here: "
            f"set {FOLDER_VARIABLE} to {LAYOUT}"
        )
