"""What a simulator must offer to be collected from and evaluated in. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tau0.contract import Embodiment, Float, Observation


@dataclass(frozen=True, kw_only=True)
class Misbelief:
    """Where a mistaken expert thinks things are, as offsets from the truth.

    Attributes:
        objects: Offset of every object, metres (x, y, z).
        goal: Offset of the goal, metres (x, y, z).
    """

    objects: tuple[float, float, float] = (0.0, 0.0, 0.0)
    goal: tuple[float, float, float] = (0.0, 0.0, 0.0)


class World(Protocol):
    """One task of one simulator. Rendering happens in `observe` alone, because it costs ten times a step.

    Attributes:
        task: The task's name, such as "reach-v3".
        embodiment: Cameras, state, action, rate.
        max_steps: Control steps after which an episode has failed.
    """

    task: str
    embodiment: Embodiment
    max_steps: int

    def reset(self, seed: int, instruction: str | None = None) -> None:
        """Starts an episode whose initial state depends on `seed` alone."""
        ...

    def state(self) -> Float:
        """Proprioception in robot units, shape (ds,), without rendering anything."""
        ...

    def observe(self) -> Observation:
        """Renders every camera and reads the state."""
        ...

    def step(self, action: Float) -> bool:
        """Executes one action of shape (da,), clipped to the limits. Returns whether the task is solved now."""
        ...

    def expert_action(self, misbelief: Misbelief | None = None) -> Float:
        """What the scripted expert would do now, shape (da,), within the limits; with a misbelief, what it would wrongly do."""
        ...

    def snapshot(self) -> Any:
        """The complete physics state, opaque."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Puts the physics back, bit for bit, to where `snapshot` was taken."""
        ...

    def close(self) -> None:
        """Releases the renderer."""
        ...
