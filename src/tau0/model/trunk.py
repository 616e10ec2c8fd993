"""The shared trunk: a Wan 2.2 video diffusion transformer (SPEC.md section 2)."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad

from tau0.model.attention import KeysValues, rotary_3d
from tau0.model.blocks import Block, Head, TimeEmbedding
from tau0.model.config import TrunkConfig
from tau0.model.linear import FeedForward, linear
from tau0.tensors import VideoFeatures

Steering = tuple[Tensor, Tensor]
Words = Float[Tensor, "b l c"] | tuple[KeysValues, ...]
"""Token features of a text, or the keys and values that every block makes of them."""


class Trunk(nn.Module):
    """Latent frames on a canvas, text, and a timestep per frame, to velocities and to the hidden states that experts read."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.patch_embedding = nn.Conv3d(config.latent_channels, width, config.patch, stride=config.patch)
        self.text_embedding = FeedForward(config.text_width, width, width)
        self.time = TimeEmbedding(config.frequency_width, width)
        self.blocks = nn.ModuleList(Block(width, config.ffn_width, config.num_heads, config.eps) for _ in range(config.num_layers))
        patch_f, patch_h, patch_w = config.patch
        self.head = Head(width, patch_f * patch_h * patch_w * config.latent_channels, config.eps)

    def forward(
        self,
        latents: Float[Tensor, "b z f h vw"],
        timestep: Float[Tensor, "b f"],
        text: Words,
        steering: Steering | None = None,
        column_mask: Bool[Tensor, "b vw"] | None = None,
    ) -> VideoFeatures:
        """One pass.

        Args:
            latents: Clean and noisy frames, side by side views.
            timestep: 1000 sigma per latent frame, 0 for a clean one. Frames that share a patch must share it.
            text: Token features, at most `text_length`; zero-padded here, before the text MLP, and attended to padding included. Or what
                `text_keys_values` made of them: with fewer texts than samples, consecutive samples share one.
            steering: What actions add to `e` and `e0`, per frame.
            column_mask: Which columns of the canvas exist; the others are hidden from attention.
        """
        patch_f, patch_h, patch_w = self.config.patch
        frames, rows, columns = latents.shape[2:]
        grid = (frames // patch_f, rows // patch_h, columns // patch_w)
        x = self._patches(latents)
        e, e0 = self.time(timestep[:, ::patch_f])
        if steering is None:
            e_head, e0 = e, e0.float()
        else:
            e_head, e0 = e + steering[0], e0.float() + steering[1]
        rotation = rotary_3d(grid, self.config.width // self.config.num_heads, x.device)
        key_mask = None if column_mask is None else self.token_mask(column_mask, grid)
        contexts = text if isinstance(text, tuple) else (self._read(text),) * len(self.blocks)
        hidden = []
        for block, context in zip(self.blocks, contexts, strict=True):
            x = block(x, e0, rotation, context, key_mask)
            hidden.append(x)
        velocity = rearrange(
            self.head(x, e_head), "b (f h w) (pf ph pw z) -> b z (f pf) (h ph) (w pw)",
            f=grid[0], h=grid[1], w=grid[2], pf=patch_f, ph=patch_h, pw=patch_w,
        )  # fmt: skip
        return VideoFeatures(velocity=velocity, hidden=tuple(hidden))

    def _patches(self, latents: Float[Tensor, "b z f h vw"]) -> Float[Tensor, "b s d"]:
        """Tokens of patches. A convolution whose stride is its kernel is a linear map of each patch, and slower as a convolution."""
        patch_f, patch_h, patch_w = self.config.patch
        patches = rearrange(latents, "b z (f pf) (h ph) (w pw) -> b (f h w) (z pf ph pw)", pf=patch_f, ph=patch_h, pw=patch_w)
        return linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)

    def text_keys_values(self, text: Float[Tensor, "b l c"]) -> tuple[KeysValues, ...]:
        """Keys and values of every block, to be made once for each text."""
        words = self._read(text)
        return tuple(block.cross_attn.keys_values(words) for block in self.blocks)  # pyright: ignore

    def _read(self, text: Float[Tensor, "b l c"]) -> Float[Tensor, "b lt d"]:
        return self.text_embedding(pad(text, (0, 0, 0, self.config.text_length - text.shape[1])))

    def token_mask(self, column_mask: Bool[Tensor, "b vw"], grid: tuple[int, int, int]) -> Bool[Tensor, "b s"]:
        """Which tokens lie on a camera that exists."""
        frames, rows, _ = grid
        columns = column_mask[:, :: self.config.patch[2]]
        return rearrange(columns[:, None, None].expand(-1, frames, rows, -1), "b f h w -> b (f h w)")
