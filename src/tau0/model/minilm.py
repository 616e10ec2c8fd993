"""The BERT encoder of all-MiniLM-L6-v2, inference only. Importing `transformers` for it would cost seconds at every start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention


@dataclass(frozen=True, kw_only=True)
class MiniLMConfig:
    """What the weights do not say, under the names of the published config.json."""

    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float


class MiniLM:
    """Token ids to token features, straight from the published weights under their published names.

    Not a module: it is never trained or moved, and building modules would initialise 22 million numbers only to replace them.
    """

    def __init__(self, config: MiniLMConfig, weights: Mapping[str, Tensor]) -> None:
        self._config = config
        self._weights = weights

    def __call__(self, tokens: Int[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l c"]:
        """Features of every token in its context.

        Args:
            tokens: Ids in the vocabulary.
            mask: True where there is a token. Nothing attends to the others, whose features mean nothing.
        """
        words = embedding(tokens, self._weights["embeddings.word_embeddings.weight"])
        positions = self._weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(words + positions + segment, "embeddings.LayerNorm")
        attends = rearrange(mask, "b l -> b 1 1 l")
        for layer in range(self._config.num_hidden_layers):
            x = self._layer(x, attends, f"encoder.layer.{layer}")
        return x

    def _layer(self, x: Tensor, attends: Tensor, name: str) -> Tensor:
        """One post-norm transformer layer."""
        heads = self._config.num_attention_heads
        q, k, v = (
            rearrange(self._linear(x, f"{name}.attention.self.{part}"), "b l (n d) -> b n l d", n=heads)
            for part in ("query", "key", "value")
        )
        attended = rearrange(scaled_dot_product_attention(q, k, v, attn_mask=attends), "b n l d -> b l (n d)")
        x = self._norm(x + self._linear(attended, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        hidden = gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(x + self._linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return layer_norm(x, weight.shape, weight, bias, self._config.layer_norm_eps)
