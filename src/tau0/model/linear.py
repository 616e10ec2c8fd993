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
        if is_quick(self, input):
            return _quick(self, input, "none")
        return super().forward(input).float()


class FeedForward(nn.Sequential):
    """Linear, GELU-tanh, Linear; parts 0, 1 and 2."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__(Linear(width, hidden), nn.GELU("tanh"), Linear(hidden, out))

    def forward(self, input: Float[Tensor, "*n c"]) -> Float[Tensor, "*n d"]:
        """What the three parts make of `x`; the first two in one go where that is quicker."""
        first, _, last = self
        if isinstance(first, Linear) and is_quick(first, input):
            return last(_quick(first, input, "gelu"))
        return super().forward(input)


def is_quick(linear: nn.Linear, x: Tensor) -> bool:
    """Whether `x` goes through oneDNN: a large product in float32 on a processor, of which nothing is learnt.

    PyTorch leaves such products to its default library, which reaches half of this speed on processors that its maker did not make.
    """
    return (
        torch.is_inference_mode_enabled()
        and x.device.type == "cpu"
        and x.dtype == linear.weight.dtype == torch.float32
        and x.numel() * linear.out_features >= LARGE
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _quick(linear: nn.Linear, x: Tensor, then: Literal["none", "gelu"]) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, linear.weight, linear.bias, then, [], "tanh" if then == "gelu" else "")
