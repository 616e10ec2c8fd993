"""Parameter names of diffusers' `WanTransformer3DModel` to ours and back. The trunk is the same network under two sets of names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tau0.model.weights import WeightsError

OUTSIDE = {
    "patch_embedding": "patch_embedding",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time.embedding.0",
    "condition_embedder.time_embedder.linear_2": "time.embedding.2",
    "condition_embedder.time_proj": "time.projection.1",
    "proj_out": "head.proj",
    "scale_shift_table": "head.modulation",
}
IN_BLOCK = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_qkv": "self_attn.qkv",
    "attn1.norm_q": "self_attn.norm_q",
    "attn1.norm_k": "self_attn.norm_k",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.norm_q": "cross_attn.norm_q",
    "attn2.norm_k": "cross_attn.norm_k",
    "attn2.to_out.0": "cross_attn.o",
    "norm2": "cross_norm",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "scale_shift_table": "modulation",
}
TRUNK = "trunk."
_NAME = re.compile(r"(?P<block>blocks\.\d+\.)?(?P<stem>.+?)(?P<kind>\.weight|\.bias)?")


def our_name(name: str) -> str:
    """The name that the world model gives to a parameter of diffusers. q, k and v of self-attention keep a name each.

    Raises:
        WeightsError: When diffusers' model has no such parameter.
    """
    return TRUNK + _rename(name, OUTSIDE, IN_BLOCK)


def diffusers_name(name: str) -> str:
    """Inverse of `our_name`. Raises `WeightsError` for a parameter outside the trunk."""
    if not name.startswith(TRUNK):
        raise WeightsError(f"{name} is no part of the trunk: diffusers' model has no experts and no action conditioning")
    return _rename(name.removeprefix(TRUNK), _inverse(OUTSIDE), _inverse(IN_BLOCK))


def from_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of diffusers' model under our names; separate q, k, v of self-attention are fused, in this order of rows.

    Raises:
        WeightsError: When a name is unknown, or a q, k or v is without the other two.
    """
    renamed = {our_name(name): tensor for name, tensor in tensors.items()}
    for name in [n for n in renamed if re.search(r"\.self_attn\.[qkv]\.", n)]:
        if name not in renamed:
            continue
        parts = [re.sub(r"\.self_attn\.[qkv]\.", f".self_attn.{p}.", name) for p in "qkv"]
        if missing := [p for p in parts if p not in renamed]:
            raise WeightsError(f"{name} has no partner {missing}")
        renamed[parts[0].replace(".self_attn.q.", ".self_attn.qkv.")] = torch.cat([renamed.pop(p) for p in parts])
    return renamed


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of our trunk under diffusers' names, q, k and v apart. Raises `WeightsError` for a tensor outside the trunk."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ".self_attn.qkv." in name:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                renamed[diffusers_name(name.replace(".qkv.", f".{part}."))] = rows
        else:
            renamed[diffusers_name(name)] = tensor
    return renamed


def _rename(name: str, outside: Mapping[str, str], in_block: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(name)
    block, stem, kind = match.group("block", "stem", "kind") if match else (None, name, None)
    stems = in_block if block else outside
    if stem not in stems:
        close = difflib.get_close_matches(stem, stems, n=1)
        raise WeightsError(f"{name} is no parameter of the trunk" + (f" (did you mean {block or ''}{close[0]}?)" if close else ""))
    return f"{block or ''}{stems[stem]}{kind or ''}"


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in names.items()}
