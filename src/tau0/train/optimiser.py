"""Muon for the matrices inside blocks, AdamW for everything else, as one optimiser with one state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from tau0.train.config import TrainConfig

BETAS, EPSILON, MOMENTUM = (0.9, 0.99), 1e-8, 0.95
ITERATIONS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Of the quintic whose iteration brings every singular value of at most 1 near 1 (Jordan 2024, "Muon")."""
_ADAMW_RMS = 0.2
"""Root mean square of an entry of AdamW's usual update, which Muon's is scaled to (Liu et al. 2025, "Muon is Scalable", section 2.2)."""


class MuonAdamW(torch.optim.Optimizer):
    """Groups with `muon` follow the direction of their momentum with all its singular values made equal; others AdamW.

    A group's `lr` is set from outside; `scale` multiplies it. Parameters of Muon's groups are matrices; three square ones on top of each
    other (queries, keys and values of one map) count as three.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "scale": 1.0, "weight_decay": 0.0, "muon": False})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Moves every parameter that has a gradient. Takes no closure."""
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        for group in self.param_groups:
            move = self._muon if group["muon"] else self._adamw
            if parameters := [p for p in group["params"] if p.grad is not None]:
                move(parameters, group["lr"] * group["scale"], group["weight_decay"])

    def _adamw(self, parameters: list[Tensor], rate: float, decay: float) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p].update(step=torch.zeros(()), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        means, squares, steps = ([self.state[p][name] for p in parameters] for name in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_add_(steps, 1)  # pyright: ignore[reportPrivateImportUsage]
        torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
            parameters, [_gradient(p) for p in parameters], means, squares, [], steps,
            amsgrad=False, lr=rate, beta1=BETAS[0], beta2=BETAS[1], weight_decay=decay, eps=EPSILON, maximize=False,
        )  # fmt: skip

    def _muon(self, parameters: list[Tensor], rate: float, decay: float) -> None:
        alike: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for p in parameters:
            alike[tuple(p.shape)].append(p)
        for (rows, columns), same in alike.items():
            ahead = torch.stack([self._ahead(p) for p in same])
            parts = 3 if rows == 3 * columns else 1
            direction = orthogonalised(rearrange(ahead, "n (k a) b -> (n k) a b", k=parts))
            length = rate * _ADAMW_RMS * max(rows // parts, columns) ** 0.5
            for p, towards in zip(same, rearrange(direction, "(n k) a b -> n (k a) b", k=parts), strict=True):
                p.mul_(1 - rate * decay).add_(towards, alpha=-length)

    def _ahead(self, p: Tensor) -> Tensor:
        """Nesterov's momentum, after this step's gradient."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(_gradient(p), 1 - MOMENTUM)
        return _gradient(p).lerp(state["momentum"], MOMENTUM)


def orthogonalised(matrices: Float[Tensor, "n a b"]) -> Float[Tensor, "n a b"]:
    """Each matrix with its singular values brought to between 0.7 and 1.2, but for tiny ones, by Newton and Schulz's iteration."""
    is_wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if is_wide else matrices.mT).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x if is_wide else x.mT).to(matrices.dtype)


def make_optimiser(networks: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """What trains all parameters: weight decay on matrices alone, Muon inside blocks where the config has a rate for it."""
    inside = (
        {p for name, p in networks.named_parameters() if ".blocks." in f".{name}" and p.ndim == 2}
        if config.muon_rate
        else set[nn.Parameter]()
    )
    matrices = [p for p in networks.parameters() if p.ndim >= 2 and p not in inside]
    others = [p for p in networks.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if not inside:
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, fused=True)
    ordered = [p for p in networks.parameters() if p in inside]
    muon = {"params": ordered, "weight_decay": config.weight_decay, "muon": True, "scale": config.muon_rate / config.learning_rate}
    return MuonAdamW([*groups, muon], config.learning_rate)


def _gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad
