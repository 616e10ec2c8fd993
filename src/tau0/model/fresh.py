"""New values for single parameters of a model that is too large to build: it stays on the meta device."""

from __future__ import annotations

from zlib import crc32

import torch
from torch import Tensor, nn

from tau0.model.blocks import initialise


def fresh(model: nn.Module, name: str, seed: int) -> Tensor:
    """What a newly built model would have under `name`, in float32: drawn from the same distribution, by seed and name alone.

    Args:
        model: A `WorldModel` on the meta device; it is left as it was.
        name: One of its parameters.
        seed: Of the draw.
    """
    owner_name, _, leaf = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    placeholder = getattr(owner, leaf)
    value = nn.Parameter(torch.empty(placeholder.shape))
    setattr(owner, leaf, value)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(crc32(f"{seed} {name}".encode()))
            if leaf == "modulation":
                nn.init.normal_(value, std=value.shape[-1] ** -0.5)
            elif isinstance(owner, nn.LayerNorm | nn.RMSNorm):
                owner.reset_parameters()
            else:
                initialise(model.get_submodule(_unit(name)))
    finally:
        setattr(owner, leaf, placeholder)
    return value.detach()


def _unit(name: str) -> str:
    """The smallest module that `initialise` treats as a whole: a block, a time embedding, a head, a projection."""
    parts = name.split(".")
    return ".".join(parts[:3] if parts[1] == "blocks" else parts[:2])
