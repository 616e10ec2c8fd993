"""The published text encoder, UMT5, computed by transformers, behind the interface of `TextEncoder` (SPEC.md section 2)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from tau0.contract import ContractError
from tau0.model.encoder_folder import EncoderFolder, EncoderFolderError, open_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import UMT5EncoderModel

PREFIX, STEM, WHAT = "umt5@", "model", "UMT5 text encoder"
TOKENIZER = "tokenizer.json"
SHARED = {"encoder.embed_tokens.weight": "shared.weight"}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What transformers' config.json says, under its names. Whatever else stands there is not looked at."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "gated-gelu"
    eos_token_id: int = 1


_ARCHITECTURE = pydantic.TypeAdapter(Architecture)


class UMT5:
    """The encoder's last hidden state, zero beyond a text's own tokens. Loads its weights at the first text.

    An empty text is one token, the end: that is what Wan and its descendants were trained with for a dropped caption.
    """

    def __init__(self, folder: Path, tokenizer: Path, length: int = 512, device: torch.device | str = "cpu") -> None:
        """The encoder in `folder`.

        Args:
            folder: config.json and safetensors, as transformers saves them (`text_encoder` of Wan 2.2 in diffusers' form).
            tokenizer: Folder with tokenizer.json (`tokenizer` there).
            length: Tokens that every text is padded to.
            device: Where the network computes; features are returned on the CPU.

        Raises:
            EncoderFolderError: When a folder does not hold what it should.
        """
        self._folder, self._architecture = _open(folder)
        self._tokenizer_file = tokenizer / TOKENIZER
        if not self._tokenizer_file.is_file():
            raise EncoderFolderError(f"{tokenizer} lacks {TOKENIZER}: name the folder `tokenizer` of Wan 2.2 in diffusers' form")
        self._device = torch.device(device)
        self.length = length
        self.width = self._architecture.d_model
        digest = self._folder.digest([*asdict(self._architecture)], self._tokenizer_file)
        self.identity = f"{PREFIX}{digest} last-hidden-state length={length}"

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l c"]:
        """See `TextEncoder.encode`. Texts pass the network one by one, so that none depends on its neighbours.

        Raises:
            ContractError: When a text has more than `length` tokens.
            ModuleNotFoundError: When the extra `wan` is not installed.
        """
        features = torch.zeros(len(texts), self.length, self.width)
        tokens = [self._tokens(text) for text in texts]
        for row, ids in zip(features, tokens, strict=True):
            hidden = self._network(input_ids=ids[None].to(self._device)).last_hidden_state
            row[: len(ids)] = hidden[0].float().cpu()
        return features

    def _tokens(self, text: str) -> Tensor:
        ids = self._tokenizer.encode(clean(text)).ids
        if not ids or ids[-1] != self._architecture.eos_token_id:
            raise EncoderFolderError(
                f"{self._tokenizer_file} does not end a text with token {self._architecture.eos_token_id}, as UMT5 wants it"
            )
        if len(ids) > self.length:
            raise ContractError(f"an instruction may have {self.length} tokens, this has {len(ids)}; say it shorter: {text!r}")
        return torch.tensor(ids)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise _not_installed(error) from error
        tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _network(self) -> UMT5EncoderModel:
        try:
            from transformers import UMT5Config, UMT5EncoderModel
        except ModuleNotFoundError as error:
            raise _not_installed(error) from error
        with torch.device("meta"):
            network = UMT5EncoderModel(UMT5Config(**asdict(self._architecture)))
        self._folder.fill(network, SHARED)
        return network.eval().requires_grad_(False).to(self._device)  # pyright: ignore[reportArgumentType]


def clean(text: str) -> str:
    """The text as Wan's pipeline gives it to the tokenizer: broken Unicode and HTML entities mended, white space single.

    Raises:
        ModuleNotFoundError: When the extra `wan` is not installed.
    """
    try:
        import ftfy
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _open(path: Path) -> tuple[EncoderFolder, Architecture]:
    folder = open_folder(path, STEM, WHAT)
    if (given := folder.config.get("model_type")) != "umt5":
        raise EncoderFolderError(f"{path} holds a {given}, not a umt5: name the folder `text_encoder` of Wan 2.2 in diffusers' form")
    return folder, folder.described(_ARCHITECTURE)


def _not_installed(error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"the {WHAT} needs {error.name}, which is not installed: pip install 'tau0-wm[wan]'")
