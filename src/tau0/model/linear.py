"""Linear maps of the world model, and the quicker way through them while nothing is learnt."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

LARGE = 3 << 19
"""Products of at least so many multiplications go to oneDNN: below that, its preparations cost more than it saves."""


class Linear(nn.Linear):
    """A linear map whose result is float32 also under autocast.

    Matrix products follow autocast; what lies between them (norms, rotations, modulation, the residual stream) stays in float32.
    """

    def forward(self, input: Float[Tensor, "*n c"]) -> Float[Tensor, "*n d"]:
        """`x W^T + b`."""
        return linear(input, self.weight, self.bias)


class FeedForward(nn.Sequential):
    """Linear, GELU-tanh, Linear; parts 0, 1 and 2."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__(Linear(width, hidden), nn.GELU("tanh"), Linear(hidden, out))

    def forward(self, input: Float[Tensor, "*n c"]) -> Float[Tensor, "*n d"]:
        """What the three parts make of `x`; the first two in one go where that is quicker."""
        first, _, last = self
        if isinstance(first, Linear) and is_quick(input, first.weight):
            return last(_quick(input, first.weight, first.bias, "gelu"))
        return super().forward(input)


def linear(x: Float[Tensor, "*n c"], weight: Float[Tensor, "d c"], bias: Float[Tensor, " d"] | None) -> Float[Tensor, "*n d"]:
    """`x W^T + b`, in float32."""
    if is_quick(x, weight):
        return _quick(x, weight, bias, "none")
    return nn.functional.linear(x, weight, bias).float()


def is_quick(x: Tensor, weight: Tensor) -> bool:
    """Whether `x` goes through oneDNN: a large product in float32 on a processor, of which nothing is learnt.

    PyTorch leaves such products to its default library, which reaches half of this speed on processors that its maker did not make.
    """
    return (
        torch.is_inference_mode_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * len(weight) >= LARGE
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _quick(x: Tensor, weight: Tensor, bias: Tensor | None, then: Literal["none", "gelu"]) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "tanh" if then == "gelu" else "")
