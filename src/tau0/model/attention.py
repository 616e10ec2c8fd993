"""Attention with normalised queries and keys, and rotary positions (SPEC.md section 2)."""

from __future__ import annotations

from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tau0.model.linear import Linear

THETA = 10000.0
SHORT = 64
"""Keys, up to which attention of one sample with more queries than that takes the short way."""

Rotation = Tensor
KeysValues = tuple[Tensor, Tensor]
Context = KeysValues | Tensor
"""What cross-attention attends to: keys and values, or the tokens to make them from."""


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # a table first made by a policy must serve training too
def rotary_1d(length: int, head_dim: int, device: torch.device) -> Rotation:
    """Unit complex numbers (length, head_dim / 2) of positions 0 .. length - 1, computed in float64."""
    return _as_rotation(_angles(length, head_dim, device))


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # a table first made by a policy must serve training too
def rotary_3d(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Rotation:
    """The same for tokens in the order (frame, row, column): rows and columns take a third of the pairs each, frames the rest."""
    pairs = head_dim // 2
    spatial = pairs // 3
    frames, rows, columns = grid
    parts = [
        _angles(frames, 2 * (pairs - 2 * spatial), device)[:, None, None].expand(-1, rows, columns, -1),
        _angles(rows, 2 * spatial, device)[None, :, None].expand(frames, -1, columns, -1),
        _angles(columns, 2 * spatial, device)[None, None, :].expand(frames, rows, -1, -1),
    ]
    return _as_rotation(rearrange(torch.cat(parts, dim=-1), "f h w p -> (f h w) p"))


def _angles(length: int, dim: int, device: torch.device) -> Tensor:
    frequencies = THETA ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=device) / max(dim, 1))
    return torch.outer(torch.arange(length, dtype=torch.float64, device=device), frequencies)


def _as_rotation(angles: Tensor) -> Rotation:
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x: Float[Tensor, "*n s hd"], rotation: Rotation) -> Float[Tensor, "*n s hd"]:
    """Each adjacent pair of channels (2i, 2i + 1), as a complex number, turned by its angle."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Bool[Tensor, "b s"] | None) -> Tensor:
    """Softmax attention, (b, heads, s, head width) each. On a CPU it stays in float32, where half precision is slower."""
    if key_mask is None and _is_short(q, k):
        return _attend_short(q, k, v)
    mask = None if key_mask is None else rearrange(key_mask, "b s -> b 1 1 s")
    with torch.autocast(q.device.type, enabled=q.device.type != "cpu" and torch.is_autocast_enabled(q.device.type)):
        return scaled_dot_product_attention(q, k, v, attn_mask=mask).float()


def _is_short(q: Tensor, k: Tensor) -> bool:
    """Whether many queries share few keys, nothing is learnt, and a processor computes in float32: what candidates and a text are."""
    return (
        torch.is_inference_mode_enabled()
        and q.device.type == "cpu"
        and q.dtype == k.dtype == torch.float32
        and len(q) == 1
        and k.shape[2] <= SHORT < q.shape[2]
    )


def _attend_short(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `attend`, of one sample, with all scores at once: quicker while they are few, and products of heads need no copies."""
    zero = q.new_zeros(())
    scores = torch.baddbmm(zero, q[0], k[0].transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(dim=-1), v[0]).unsqueeze(0)


class SelfAttention(nn.Module):
    """Full self-attention. The rows of `qkv` are in the order q, k, v."""

    def __init__(self, width: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.norm_q = nn.RMSNorm(width, eps)
        self.norm_k = nn.RMSNorm(width, eps)
        self.o = Linear(width, width)

    def forward(self, x: Float[Tensor, "b s d"], rotation: Rotation, key_mask: Bool[Tensor, "b s"] | None = None) -> Float[Tensor, "b s d"]:
        """Attends over the sequence; `key_mask` False hides a token from all others."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (rearrange(t, "b s (h c) -> b h s c", h=self.num_heads) for t in (self.norm_q(q), self.norm_k(k), v))
        out = attend(rotate(q, rotation), rotate(k, rotation), v, key_mask)
        return self.o(rearrange(out, "b h s c -> b s (h c)"))


class CrossAttention(nn.Module):
    """Cross-attention without positions; keys and values can be made once and used by many queries."""

    def __init__(self, width: int, num_heads: int, eps: float, context_width: int | None = None) -> None:
        super().__init__()
        context_width = width if context_width is None else context_width
        self.num_heads = num_heads
        self.q = Linear(width, width)
        self.k = Linear(context_width, width)
        self.v = Linear(context_width, width)
        self.norm_q = nn.RMSNorm(width, eps)
        self.norm_k = nn.RMSNorm(width, eps)
        self.o = Linear(width, width)

    def keys_values(self, context: Float[Tensor, "b s c"]) -> KeysValues:
        """Keys and values, (b, heads, s, head width) each."""
        k, v = self.norm_k(self.k(context)), self.v(context)
        return rearrange(k, "b s (h c) -> b h s c", h=self.num_heads), rearrange(v, "b s (h c) -> b h s c", h=self.num_heads)

    def forward(
        self, x: Float[Tensor, "br s d"], keys_values: KeysValues, key_mask: Bool[Tensor, "b sk"] | None = None
    ) -> Float[Tensor, "br s d"]:
        """Attends to the context. With `r` times as many rows in `x` as contexts, rows b*r .. b*r + r - 1 share context b.

        Queries do not see each other, so the rows that share a context are folded into one longer row of queries.
        """
        k, v = keys_values
        q = self.norm_q(self.q(x))
        repeats = len(x) // len(k)
        q = rearrange(q, "(b r) s (h c) -> b h (r s) c", r=repeats, h=self.num_heads)
        out = attend(q, k, v, key_mask)
        return self.o(rearrange(out, "b h (r s) c -> (b r) s (h c)", r=repeats))
