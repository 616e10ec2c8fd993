"""A model spread over processes: FSDP2 block by block, weights in float32, matrix products in bfloat16, activations recomputed.

Matrices are sharded. Vectors between them (norms, modulation: a thousandth of the weights) are whole on every process and stay in float32,
so that a sharded model computes what the same model computes under autocast, number for number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from tau0.model.blocks import Block
from tau0.train.mesh import SHARD, mesh_device
from tau0.train.parallel import has_fast_bfloat16, local


@dataclass(frozen=True, kw_only=True)
class ShardingConfig:
    """How a model is spread over processes. None of it changes what is computed but by rounding.

    Attributes:
        shard_over: Processes that share one copy of the model, all by default. With fewer, copies are kept equal by averaging gradients.
        keep_gathered: Keep a block's gathered weights from its forward to its backward pass: memory for traffic.
        recompute: Compute a block's activations again in the backward pass instead of keeping them: time for memory.
        compile: Compile every block.
        bfloat16: Matrix products in bfloat16; None where the hardware does them well.
        micro_batches: Parts in which a process takes its share of the batch, one after another.
    """

    shard_over: int | None = None
    keep_gathered: bool = False
    recompute: bool = True
    compile: bool = False
    bfloat16: bool | None = None
    micro_batches: int = 1

    def __post_init__(self) -> None:
        if self.micro_batches < 1:
            raise ValueError(f"micro_batches must be at least 1, got {self.micro_batches}")

    def uses_bfloat16(self, device: str) -> bool:
        """Whether matrix products are in bfloat16 on this kind of device."""
        return has_fast_bfloat16(device) if self.bfloat16 is None else self.bfloat16


def blocks(networks: nn.Module) -> Iterator[Block]:
    """Every transformer block, of trunk and experts."""
    return (module for module in networks.modules() if isinstance(module, Block))


def replicated_parameters(networks: nn.Module) -> set[nn.Parameter]:
    """Parameters that are in no matrix product: whole on every process."""
    products = (m for m in networks.modules() if isinstance(m, nn.Linear | nn.Conv3d))
    sharded = {parameter for module in products for parameter in module.parameters(recurse=False)}
    return {parameter for parameter in networks.parameters() if parameter not in sharded}


def shard(networks: nn.Module, mesh: DeviceMesh, config: ShardingConfig) -> None:
    """Spreads `networks` over the mesh, in place. What it computes is read by `networks(...)`, a call of the whole.

    Args:
        networks: On any device, "meta" included: then give them memory with `to_empty` and weights afterwards.
        mesh: From `make_mesh`.
        config: How.
    """
    whole = replicated_parameters(networks)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if config.uses_bfloat16(mesh.device_type) else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    spread = partial(fully_shard, mesh=mesh, mp_policy=policy, ignored_params=whole)
    for block in blocks(networks):
        forward: Callable[..., Any] = block.forward
        if config.compile:
            forward = torch.compile(forward)
        if config.recompute:
            forward = partial(checkpoint, forward, use_reentrant=False)
        block.forward = forward
        spread(block, reshard_after_forward=not config.keep_gathered)
    spread(networks)
    for parameter in whole:
        if not parameter.is_meta:
            parameter.data = parameter.data.to(mesh_device(mesh))


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], limit: float, mesh: DeviceMesh) -> float:
    """The norm of all gradients together, over all processes; they are scaled down to `limit` where it is larger.

    Gradients of replicated parameters must have been averaged before.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    shards = [local(grad) for grad in grads if isinstance(grad, DTensor)]
    wholes = [grad for grad in grads if not isinstance(grad, DTensor)]
    squares = _sum_of_squares(shards, mesh_device(mesh))
    dist.all_reduce(squares, group=mesh.get_group(SHARD))
    norm = float((squares + _sum_of_squares(wholes, mesh_device(mesh))).sqrt())
    if norm > limit:
        torch._foreach_mul_(shards + wholes, limit / (norm + 1e-6))  # pyright: ignore[reportPrivateImportUsage]
    return norm


def _sum_of_squares(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    if not tensors:
        return torch.zeros((), device=device)
    return torch.stack(torch._foreach_norm(list(tensors))).square().sum()  # pyright: ignore[reportPrivateImportUsage]
