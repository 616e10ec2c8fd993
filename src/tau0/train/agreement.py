"""One process decides, all know: what is on the disk may look different to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from tau0.train.parallel import is_first

Found = TypeVar("Found")


def first_says(work: Callable[[], Found]) -> Found:
    """What `work` returned in the first process, on every process; its error is everybody's."""
    found: list[Found] = []
    error: Exception | None = None
    if is_first():
        try:
            found.append(work())
        except Exception as caught:
            error = caught
    told = [(found, error)]
    if dist.is_initialized():
        dist.broadcast_object_list(told, src=0)
    found, error = told[0]
    if error is not None:
        raise error
    return found[0]
