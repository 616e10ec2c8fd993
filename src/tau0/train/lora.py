"""Low-rank adapters: a few trained numbers beside every large matrix of the blocks, added to it when the model leaves the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ADAPTER = "default"
_DOWN, _UP, _BASE = f".lora_A.{ADAPTER}.weight", f".lora_B.{ADAPTER}.weight", ".base_layer."
_TARGETS = r".*\.blocks\.\d+\.(self_attn\.(qkv|o)|cross_attn\.(q|k|v|o)|ffn\.[02])"


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Adapters on the attention and feed-forward matrices of every block, of trunk and experts.

    Attributes:
        rank: Inner width of an adapter.
        alpha: An adapter's product is scaled by `alpha / rank`.
    """

    rank: int
    alpha: float

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"the rank of an adapter must be at least 1, got {self.rank}")

    @property
    def scale(self) -> float:
        """What the product of an adapter's two matrices is multiplied by."""
        return self.alpha / self.rank


def add_adapters(networks: nn.Module, config: LoraConfig) -> None:
    """Freezes everything and puts adapters into every block, in place; they change nothing before they are trained.

    Raises:
        ModuleNotFoundError: When peft is not installed.
    """
    import peft

    for parameter in networks.parameters():
        parameter.requires_grad_(False)
    settings = peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=_TARGETS)  # pyright: ignore[reportArgumentType]
    peft.inject_adapter_in_model(settings, networks, ADAPTER)


def is_adapter(name: str) -> bool:
    """Whether the parameter of this name belongs to an adapter."""
    return name.endswith((_DOWN, _UP))


def base_name(name: str) -> str:
    """The name that a parameter has in a model without adapters."""
    return name.replace(_BASE, ".")


def fresh_adapter(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """First values of an adapter's matrix: the way up is zero, so that the product is; the way down is uniform, as peft draws it."""
    if name.endswith(_UP):
        return torch.zeros(like.shape)
    values = torch.empty(like.shape)
    return nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)


def merged(tensors: Mapping[str, Tensor], config: LoraConfig | None) -> dict[str, Tensor]:
    """Tensors under the names of a model without adapters, each adapter's product added to its matrix."""
    plain = {base_name(name): tensor for name, tensor in tensors.items() if not is_adapter(name)}
    if config is None:
        return plain
    for name, down in tensors.items():
        if name.endswith(_DOWN):
            up, target = tensors[name.removesuffix(_DOWN) + _UP], name.removesuffix(_DOWN) + ".weight"
            plain[target] = plain[target] + config.scale * (up @ down)
    return plain
