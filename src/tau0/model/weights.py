"""Published parameter names to ours. Every tensor of both sides is accounted for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

PREFIXES = (
    ("act_cond_proj_in_2_6d.", "conditioning.to_modulation."),
    ("act_cond_proj_in_2.", "conditioning.to_embedding."),
    ("act_cond_proj_in.", "conditioning.step."),
    ("action_", "action_expert."),
    ("reward_", "progress_expert."),
    ("", "trunk."),
)
PARTS = (
    ("time_embedding.", "time.embedding."),
    ("time_projection.", "time.projection."),
    ("head.head.", "head.proj."),
    (".norm3.", ".cross_norm."),
)


class WeightsError(ValueError):
    """Tensors that are missing, foreign or of another shape; the message lists them."""


def from_published(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a published policy or simulator under our names; separate q, k, v of self-attention are fused."""
    renamed = {_rename(name): tensor for name, tensor in published.items()}
    for name in [n for n in renamed if ".self_attn.q." in n]:
        parts = [name.replace(".self_attn.q.", f".self_attn.{p}.") for p in "qkv"]
        missing = [p for p in parts if p not in renamed]
        if missing:
            raise WeightsError(f"{name} has no partner {missing}")
        renamed[name.replace(".self_attn.q.", ".self_attn.qkv.")] = torch.cat([renamed.pop(p) for p in parts])
    return renamed


def _rename(name: str) -> str:
    prefix, ours = next((p, o) for p, o in PREFIXES if name.startswith(p))
    name = ours + name[len(prefix) :]
    for theirs, mine in PARTS:
        name = name.replace(theirs, mine)
    return name


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies `tensors` into the module.

    Raises:
        WeightsError: Lists every tensor of `source` that is missing, foreign or mis-shaped; then nothing was loaded.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    foreign = sorted(tensors.keys() - wanted.keys())
    shapes = [
        f"{n} is {tuple(tensors[n].shape)}, expected {tuple(wanted[n].shape)}"
        for n in wanted
        if n in tensors and tensors[n].shape != wanted[n].shape
    ]
    if missing or foreign or shapes:
        lines = [f"missing {n}{_hint(n, foreign)}" for n in missing] + [f"foreign {n}" for n in foreign] + shapes
        raise WeightsError(f"{source} does not hold this model:\n  " + "\n  ".join(lines))
    module.load_state_dict(dict(tensors))


def _hint(name: str, candidates: list[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
