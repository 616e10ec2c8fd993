"""Our parameter names, and those under which the same tensors are published: τ0's two checkpoints, and Wan 2.2 in both of its forms.

A `Piece` says from which tensor, or from which third of its rows, another one is made: conversions can be planned before a tensor is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tau0.model.diffusers_names import diffusers_name, our_name
from tau0.model.weights import WeightsError

PREFIXES = (
    ("conditioning.to_modulation.", "act_cond_proj_in_2_6d."),
    ("conditioning.to_embedding.", "act_cond_proj_in_2."),
    ("conditioning.step.", "act_cond_proj_in."),
    ("action_expert.", "action_"),
    ("progress_expert.", "reward_"),
    ("trunk.", ""),
)
PUBLISHED = (
    ("time.embedding.", "time_embedding."),
    ("time.projection.", "time_projection."),
    ("head.proj.", "head.head."),
    (".cross_norm.", ".norm3."),
)
"""Pairs of what a part of a name is called here and there, in the order in which ours are replaced by theirs."""

WRAPPERS = ("module.", "_orig_mod.", "model.diffusion_model.", "model.")
"""What other programs put before every name: data-parallel and compiled modules, and single-file releases."""

QKV = ("q", "k", "v")
_FUSED = re.compile(r"(.*\.self_attn\.)qkv\.(weight|bias)")
_SEPARATE = re.compile(r"(.*\.self_attn\.)([qkv])\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A tensor, or with `third` 0, 1 or 2 that third of its rows (q, k or v of a fused one)."""

    name: str
    third: int | None = None


def to_ours(names: Iterable[str]) -> dict[str, tuple[Piece, ...]]:
    """Our name of every published tensor, and the pieces it is made of, to be laid one below the other.

    Understands the published policy and simulator, and the Wan 2.2 transformer under its original and under diffusers' names.
    Self-attention may have fused or separate q, k, v, in any block.

    Raises:
        WeightsError: When a name is diffusers' in part only, q, k or v stands alone, or two tensors mean the same one of ours.
    """
    names = sorted(names)
    wrapper = next((w for w in WRAPPERS if names and all(name.startswith(w) for name in names)), "")
    is_diffusers = any(name.startswith(f"{wrapper}condition_embedder.") for name in names)
    rename = our_name if is_diffusers else _from_published
    theirs, problems = _renamed(names, wrapper, rename)
    problems += [f"{ours} is there {n} times" for ours, n in Counter(theirs.values()).items() if n > 1]
    found: dict[str, tuple[Piece, ...]] = {}
    letters: dict[str, dict[str, Piece]] = {}
    for name, ours in theirs.items():
        if match := _SEPARATE.fullmatch(ours):
            letters.setdefault(f"{match[1]}qkv.{match[3]}", {})[match[2]] = Piece(name=name)
        else:
            found[ours] = (Piece(name=name),)
    for fused, parts in letters.items():
        if fused in found:
            problems.append(f"{fused} is there fused and separate")
        problems += [f"missing {fused.replace('qkv', letter)} beside {min(parts)}" for letter in QKV if letter not in parts]
        found[fused] = tuple(parts[letter] for letter in QKV if letter in parts)
    if problems:
        raise WeightsError("not the names of a checkpoint:\n  " + "\n  ".join(problems))
    return found


def to_published(names: Iterable[str], *, is_fused: bool) -> dict[str, Piece]:
    """The inverse for τ0's checkpoints and Wan's original: their names, each with the piece of ours that it is."""
    return {_to_published(name): piece for name, piece in _unfused(names, is_fused=is_fused).items()}


def to_diffusers(names: Iterable[str]) -> dict[str, Piece]:
    """The inverse for diffusers' `WanTransformer3DModel`; q, k, v are separate there.

    Raises:
        WeightsError: For a name outside the trunk.
    """
    return {diffusers_name(name): piece for name, piece in _unfused(names, is_fused=False).items()}


def from_published(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under our names; see `to_ours`. Separate q, k, v of self-attention are fused."""
    return {ours: torch.cat([published[piece.name] for piece in pieces]) for ours, pieces in to_ours(published).items()}


def _renamed(names: Iterable[str], wrapper: str, rename: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """The names with ours, and what is wrong with those that have none."""
    renamed, problems = {}, []
    for name in names:
        try:
            renamed[name] = rename(name.removeprefix(wrapper))
        except WeightsError as error:
            problems.append(str(error))
    return renamed, problems


def _unfused(names: Iterable[str], *, is_fused: bool) -> dict[str, Piece]:
    pieces: dict[str, Piece] = {}
    for name in names:
        match = None if is_fused else _FUSED.fullmatch(name)
        if match is None:
            pieces[name] = Piece(name=name)
        else:
            pieces |= {f"{match[1]}{letter}.{match[2]}": Piece(name=name, third=i) for i, letter in enumerate(QKV)}
    return pieces


def _from_published(name: str) -> str:
    ours, theirs = next((ours, theirs) for ours, theirs in PREFIXES if name.startswith(theirs))
    return _restored(ours + name[len(theirs) :], PUBLISHED)


def _to_published(name: str) -> str:
    ours, theirs = next((ours, theirs) for ours, theirs in PREFIXES if name.startswith(ours))
    return theirs + _replaced(name[len(ours) :], PUBLISHED)


def _replaced(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


def _restored(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in reversed(pairs):
        name = name.replace(theirs, ours)
    return name
