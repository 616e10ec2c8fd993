"""The simulator: where chunks lead, imagined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tau0.simulate.imagined_env import ImaginedEnv

__all__ = ["ImaginedEnv"]


def __getattr__(name: str) -> Any:
    """`ImaginedEnv`, which needs Gymnasium, only when it is asked for."""
    if name != "ImaginedEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tau0.simulate.imagined_env import ImaginedEnv

    return ImaginedEnv
