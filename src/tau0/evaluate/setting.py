"""Where and how a network is computed while it is checked: device, numbers, compiled or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tau0.model.blocks import Block

Precision = Literal["float32", "bfloat16", "float16"]

NUM_ROUNDINGS = 64
TOLERANCES: Mapping[Precision, float] = {
    "float32": 1e-5,
    "bfloat16": NUM_ROUNDINGS * 2.0**-8,
    "float16": NUM_ROUNDINGS * 2.0**-11,
}
"""Largest error of an output as a share of its largest value. In float32 a wrong digit is found. In half precision every product is rounded
to 8 or 11 bits, and what small networks with random weights make of that differs between machines: 64 roundings are allowed, which finds a
wrong network, but not a small mistake. Check float32 first."""


class SettingError(ValueError):
    """A device that is not there."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How networks are computed.

    Attributes:
        device: As PyTorch names it: cpu, cuda, cuda:1, mps.
        precision: Of matrix products. Weights, norms and the residual stream stay in float32, as everywhere in the model.
        compiler: Backend of `torch.compile` for every transformer block, such as "inductor"; None for none.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    compiler: str | None = None

    @property
    def tolerance(self) -> float:
        """What is allowed for the networks' outputs."""
        return TOLERANCES[self.precision]

    def check(self) -> None:
        """Raises `SettingError` when the device is not there."""
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise SettingError(f"device {self.device!r} cannot be used: {str(error).splitlines()[0]}") from None

    def place(self, model: nn.Module) -> None:
        """Moves the model, and compiles its blocks."""
        model.to(self.device)
        if self.compiler is not None:
            for block in [module for module in model.modules() if isinstance(module, Block)]:
                block.compile(backend=self.compiler)

    def moved(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors on the device."""
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A block in which matrix products have this precision, and float32 is float32: no TF32, whatever the user's settings."""
        kind = torch.device(self.device).type
        autocast = torch.autocast(kind, getattr(torch, self.precision), enabled=self.precision != "float32")
        matmul = torch.backends.cuda.matmul.fp32_precision
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False, fp32_precision="ieee"), autocast:
            torch.backends.cuda.matmul.fp32_precision = "ieee"
            try:
                yield
            finally:
                torch.backends.cuda.matmul.fp32_precision = matmul
