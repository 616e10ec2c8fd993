"""The transformer block, time embedding and output head that trunk and experts share (SPEC.md section 2)."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tau0.model.attention import Context, CrossAttention, Rotation, SelfAttention
from tau0.model.linear import FeedForward, Linear

INIT_STD = 0.02


def sinusoid(timestep: Float[Tensor, "*n"], width: int) -> Float[Tensor, "*n width"]:
    """`[cos(p w_i), sin(p w_i)]`, `w_i = 10000^(-i / half)`, computed in float64."""
    half = width // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=timestep.device) / half)
    angles = timestep.double().unsqueeze(-1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float()


class TimeEmbedding(nn.Module):
    """Timestep to `e` (width d), and `e` to the six modulations `e0` of every block."""

    def __init__(self, frequency_width: int, width: int) -> None:
        super().__init__()
        self.frequency_width = frequency_width
        self.embedding = nn.Sequential(Linear(frequency_width, width), nn.SiLU(), Linear(width, width))
        self.projection = nn.Sequential(nn.SiLU(), Linear(width, 6 * width))

    def forward(self, timestep: Float[Tensor, "b f"]) -> tuple[Float[Tensor, "b f d"], Float[Tensor, "b f 6 d"]]:
        """`e` and `e0` for each timestep."""
        e = self.embedding(sinusoid(timestep, self.frequency_width))
        return e, rearrange(self.projection(e), "b f (six d) -> b f six d", six=6)


def modulate(x: Float[Tensor, "b s d"], shift: Float[Tensor, "b f d"], scale: Float[Tensor, "b f d"]) -> Float[Tensor, "b s d"]:
    """`x (1 + scale) + shift`, where every frame's s / f tokens share one modulation."""
    frames = rearrange(x, "b (f n) d -> b f n d", f=shift.shape[1])
    return rearrange(torch.addcmul(shift.unsqueeze(2), frames, 1 + scale.unsqueeze(2)), "b f n d -> b (f n) d")


def add_gated(x: Float[Tensor, "b s d"], update: Float[Tensor, "b s d"], gate: Float[Tensor, "b f d"]) -> Float[Tensor, "b s d"]:
    """`x + gate update` in float32, one gate a frame."""
    before, change = (rearrange(t.float(), "b (f n) d -> b f n d", f=gate.shape[1]) for t in (x, update))
    return rearrange(torch.addcmul(before, change, gate.unsqueeze(2)), "b f n d -> b (f n) d")


class Block(nn.Module):
    """Modulated self-attention, cross-attention, modulated FFN. The residual stream and the modulation stay in float32."""

    def __init__(self, width: int, ffn_width: int, num_heads: int, eps: float, context_width: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(width, num_heads, eps)
        self.cross_norm = nn.LayerNorm(width, eps)
        self.cross_attn = CrossAttention(width, num_heads, eps, context_width)
        self.norm2 = nn.LayerNorm(width, eps, elementwise_affine=False)
        self.ffn = FeedForward(width, ffn_width, width)
        self.modulation = nn.Parameter(torch.randn(1, 6, width) * width**-0.5)

    def forward(
        self,
        x: Float[Tensor, "b s d"],
        e0: Float[Tensor, "b f 6 d"],
        rotation: Rotation,
        context: Context,
        key_mask: Bool[Tensor, "b s"] | None = None,
        context_mask: Bool[Tensor, "b sk"] | None = None,
    ) -> Float[Tensor, "b s d"]:
        """The block's output. Keys and values that many calls share come from `cross_attn.keys_values`; tokens are projected here.

        Training gives tokens: what a sharded or checkpointed block needs of its weights happens inside its own call.
        """
        keys_values = self.cross_attn.keys_values(context) if isinstance(context, Tensor) else context
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + e0.float()).unbind(-2)
        x = add_gated(x, self.self_attn(modulate(self.norm1(x), shift1, scale1), rotation, key_mask), gate1)
        x = x + self.cross_attn(self.cross_norm(x), keys_values, context_mask)
        return add_gated(x, self.ffn(modulate(self.norm2(x), shift2, scale2)), gate2)


class Head(nn.Module):
    """Modulated norm and a linear map to the output's numbers."""

    def __init__(self, width: int, out: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps, elementwise_affine=False)
        self.proj = Linear(width, out)
        self.modulation = nn.Parameter(torch.randn(1, 2, width) * width**-0.5)

    def forward(self, x: Float[Tensor, "b s d"], e: Float[Tensor, "b f d"]) -> Float[Tensor, "b s out"]:
        """The tokens' outputs; `e` is the time embedding before its projection."""
        shift, scale = (self.modulation + e.float().unsqueeze(2)).unbind(-2)
        return self.proj(modulate(self.norm(x), shift, scale)).float()


def initialise(module: nn.Module) -> None:
    """Linear maps by Xavier, embeddings' last maps at 0.02, heads at zero: every velocity starts at zero."""
    for child in module.modules():
        if isinstance(child, nn.Linear | nn.Conv3d):
            nn.init.xavier_uniform_(child.weight.flatten(1))
            if child.bias is not None:
                nn.init.zeros_(child.bias)
    for child in module.modules():
        if isinstance(child, TimeEmbedding):
            for linear in (child.embedding[0], child.embedding[2], child.projection[1]):
                nn.init.normal_(linear.weight, std=INIT_STD)  # pyright: ignore[reportArgumentType]
        if isinstance(child, Head):
            nn.init.zeros_(child.proj.weight)
