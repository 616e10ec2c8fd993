"""Processes that train together: one flat all-reduce a step, and one answer to whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

LONGEST_WAIT = timedelta(days=1)
"""How long a process waits for its peers: rank 0 may be busy with an evaluation in closed loop."""


def join(rank: int, world: int, rendezvous: Path) -> None:
    """Enters the group of `world` processes that meet at the file `rendezvous`. Does nothing for one process."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world, timeout=LONGEST_WAIT)


@contextmanager
def threads(num: int) -> Iterator[None]:
    """Lets torch use `num` threads inside the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def leave() -> None:
    """Leaves the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: Sequence[nn.Parameter], numbers: Sequence[float]) -> list[float]:
    """Averages gradients in place over all processes, and a few numbers with them. A parameter without gradient counts as zero."""
    if not dist.is_initialized():
        return list(numbers)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    device = grads[0].device if grads else torch.device("cpu")
    flat = torch.cat([g.reshape(-1) for g in grads] + [torch.tensor(list(numbers), dtype=torch.float32, device=device)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = flat[offset : offset + grad.numel()].view_as(grad)
        offset += grad.numel()
    return flat[offset:].tolist()


def summed(numbers: Sequence[float]) -> list[float]:
    """The numbers of all processes, added up in float64."""
    if not dist.is_initialized():
        return list(numbers)
    total = torch.tensor(list(numbers), dtype=torch.float64)
    dist.all_reduce(total)
    return total.tolist()


def agree(error: Exception | None) -> None:
    """Raises on every process what any of them met, the lowest rank's where there are several; else waits until all are here."""
    met = [error]
    if dist.is_initialized():
        met = [None] * dist.get_world_size()
        dist.all_gather_object(met, error)
    for other in met:
        if other is not None:
            raise other


def is_first() -> bool:
    """Whether this process is the first of its group, or alone."""
    return not dist.is_initialized() or dist.get_rank() == 0


def first_does(work: Callable[[], object]) -> None:
    """Work of the first process, for which all wait; its error is everybody's."""
    error = None
    if is_first():
        try:
            work()
        except Exception as caught:
            error = caught
    agree(error)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: all of it unless it is sharded. Writing to it writes to the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def share_of(batch: int, rank: int, world: int) -> slice:
    """This worker's part of a batch."""
    return slice(batch * rank // world, batch * (rank + 1) // world)


def has_fast_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 are done in hardware."""
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
