"""Folders of published encoders, which no checkpoint carries: what is in them, and a name for exactly that.

A folder is in the form that diffusers and transformers save: config.json beside safetensors, in one file or several with an index. Only
plain data is read, and only files that lie in the folder itself: nothing in a config or an index names code, or another place to read.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pydantic
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from tau0.model.weights import WeightsError, compare, shapes_of

Shape = TypeVar("Shape")

PIECE = 4096
"""Bytes at the beginning, middle and end of every tensor that a folder's name depends on."""


class EncoderFolderError(WeightsError):
    """A folder that does not hold the encoder that is wanted. The message names the folder, and what is missing or differs."""


@dataclass(frozen=True, kw_only=True)
class EncoderFolder:
    """One encoder on disk.

    Attributes:
        path: The folder, given by the user.
        config: Its config.json.
        files: Its safetensors.
    """

    path: Path
    config: dict[str, object]
    files: tuple[Path, ...]

    def described(self, shape: pydantic.TypeAdapter[Shape]) -> Shape:
        """The fields of the config that `shape` has, each of the type that it has there. Raises `EncoderFolderError` naming each misfit."""
        try:
            return shape.validate_python(self.config)
        except pydantic.ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise EncoderFolderError(f"{self.path / 'config.json'}: {'; '.join(lines)}") from None

    def fill(self, network: nn.Module, shared: Mapping[str, str] | None = None) -> None:
        """Gives the tensors to a network on the meta device, in the precision that they are stored in.

        Args:
            network: Of the architecture that the config describes.
            shared: Names of parameters that are another one and may be left out of the files, and that other one's name.

        Raises:
            EncoderFolderError: When a file is damaged, or a tensor is missing, foreign or mis-shaped.
        """
        try:
            tensors = {name: tensor for file in self.files for name, tensor in load_file(file).items()}
        except SafetensorError as error:
            raise EncoderFolderError(f"{self.path}: a file of weights cannot be read: {error}") from None
        for name, other in (shared or {}).items():
            if other in tensors:
                tensors[name] = tensors[other]
        if lines := compare(shapes_of(network.state_dict()), shapes_of(tensors)):
            raise EncoderFolderError(f"{self.path} does not hold this network:\n  " + "\n  ".join(lines))
        network.load_state_dict(tensors, assign=True)

    def digest(self, fields: Sequence[str], *others: Path) -> str:
        """16 hex digits that another folder has only if it computes the same: they depend on each of `fields` of the config, on the
        files in `others`, and on name, type, shape and three pieces of every tensor, however the tensors are spread over files.

        Reading twelve gigabytes at every start would take a minute; the pieces take a second. They tell encoders apart, and do not
        guard against someone who changes single numbers in between.
        """
        digest = sha256(json.dumps({name: self.config.get(name) for name in fields}, sort_keys=True).encode())
        for line in sorted(line for file in self.files for line in self._lines(file)):
            digest.update(line.encode())
        for other in others:
            digest.update(sha256(other.read_bytes()).digest())
        return digest.hexdigest()[:16]

    def _lines(self, file: Path) -> list[str]:
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise EncoderFolderError(f"{file} cannot be read: {error}") from None
        lines = []
        with file.open("rb") as raw:
            size = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(size))
            for name, entry in header.items():
                if name != "__metadata__":
                    start, end = (8 + size + offset for offset in entry["data_offsets"])
                    pieces = sha256()
                    for at in (start, (start + end) // 2, max(start, end - PIECE)):
                        raw.seek(at)
                        pieces.update(raw.read(min(PIECE, end - at)))
                    lines.append(f"{name} {entry['dtype']} {entry['shape']} {pieces.hexdigest()}\n")
        return lines


def open_folder(path: Path, stem: str, what: str) -> EncoderFolder:
    """The encoder in `path`.

    Args:
        path: As saved by `save_pretrained`.
        stem: Name of its files of weights: `model`, or `diffusion_pytorch_model`.
        what: Name of the encoder, for messages.

    Raises:
        EncoderFolderError: When there is no such folder, or a file is missing, unreadable or names another place.
    """
    if not path.is_dir():
        near = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, n=1)
        raise EncoderFolderError(f"there is no folder {path} with the {what}" + (f" (did you mean {close[0]}?)" if close else ""))
    config = _json(path / "config.json", what)
    index = path / f"{stem}.safetensors.index.json"
    names = _names(_json(index, what).get("weight_map"), index) if index.is_file() else [f"{stem}.safetensors"]
    for name in names:
        if not (path / name).is_file():
            others = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".bin", ".pth", ".pt", ".ckpt"))
            found = f"; it has {', '.join(others)}" if others else ""
            raise EncoderFolderError(f"{path} lacks {name} of the {what}{found}. Pickled weights are not read: save them as safetensors")
    return EncoderFolder(path=path, config=config, files=tuple(path / name for name in names))


def _json(path: Path, what: str) -> dict[str, object]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise EncoderFolderError(f"{path.parent} lacks {path.name} of the {what}") from None
    except ValueError as error:
        raise EncoderFolderError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise EncoderFolderError(f"{path} should hold an object, got {type(content).__name__}")
    return content


def _names(weight_map: object, index: Path) -> list[str]:
    if not isinstance(weight_map, dict) or not weight_map:
        raise EncoderFolderError(f"{index} has no weight_map")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise EncoderFolderError(f"{index} names {name!r}, which is not a safetensors file in its own folder")
    return names
