"""One episode in two passes: rehearse it without pictures, and film it only if it is wanted. Physics repeats exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.collect.behaviours import Behaviour
from tau0.contract import Float, Pixels
from tau0.worlds.protocol import World

TAIL_STEPS = 8
"""Steps that the expert still acts after the first success, so that policies learn to stay."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happened in a rehearsal of `t` steps.

    Attributes:
        seed: Of the world's initial state.
        behaviour: Name of what acted.
        actions: Executed, shape (t, da).
        labels: The expert's, at the same states, shape (t, da).
        solved: Whether the task was solved after each action, shape (t,).
    """

    seed: int
    behaviour: str
    actions: Float
    labels: Float
    solved: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def succeeds(self) -> bool:
        """Whether the task is solved at any step."""
        return bool(self.solved.any())

    @property
    def solved_at(self) -> int:
        """Actions until the task is solved first; the number of all actions where it never is."""
        return int(self.solved.argmax()) + 1 if self.succeeds else len(self)


@dataclass(frozen=True, kw_only=True)
class Film:
    """Pictures and states of an episode of `t` steps, and the physics at the frames that were asked for."""

    images: dict[str, Pixels]
    state: Float
    snapshots: dict[int, Any]


class Camera:
    """Collects observations, row by row."""

    def __init__(self) -> None:
        self._images: dict[str, list[Pixels]] = {}
        self._states: list[Float] = []

    def shoot(self, world: World) -> None:
        """Adds what can be seen now."""
        observation = world.observe()
        for name, pixels in observation.images.items():
            self._images.setdefault(name, []).append(pixels)
        self._states.append(observation.state)

    def developed(self, snapshots: dict[int, Any] | None = None) -> Film:
        """Everything seen so far, stacked."""
        images = {name: np.stack(frames) for name, frames in self._images.items()}
        return Film(images=images, state=np.stack(self._states), snapshots=snapshots or {})


def rehearse(world: World, seed: int, behaviour: Behaviour, max_steps: int) -> Script:
    """Runs an episode without drawing: the behaviour until the task is solved, then the expert for `TAIL_STEPS` more.

    Args:
        world: Where.
        seed: Of the initial state.
        behaviour: What acts.
        max_steps: Steps after which an unsolved episode ends.
    """
    world.reset(seed)
    actions, labels, solved = [], [], []
    left = max_steps
    while left > 0:
        label = world.expert_action()
        action = label if any(solved) else behaviour.act(world, label, len(actions))
        actions.append(action)
        labels.append(label)
        was_solved = any(solved)
        solved.append(world.step(action))
        left = TAIL_STEPS if solved[-1] and not was_solved else left - 1
    return Script(
        seed=seed, behaviour=behaviour.name, actions=np.stack(actions), labels=np.stack(labels), solved=np.array(solved, np.bool_)
    )


def film(world: World, script: Script, snapshot_at: Iterable[int] = ()) -> Film:
    """Plays a script again, this time drawing every frame, and keeps the physics before the actions `snapshot_at`.

    Raises:
        RuntimeError: The world did not repeat itself.
    """
    wanted, snapshots, camera = set(snapshot_at), {}, Camera()
    world.reset(script.seed)
    for step, action in enumerate(script.actions):
        if step in wanted:
            snapshots[step] = world.snapshot()
        camera.shoot(world)
        if world.step(action) != script.solved[step]:
            raise RuntimeError(
                f"{world.task} with seed {script.seed} did not repeat itself at step {step}: its physics is not deterministic"
            )
    return camera.developed(snapshots)


def steps_to_solve(world: World, max_steps: int) -> int | None:
    """Steps that the expert needs from here until the task is solved, without drawing; None when `max_steps` do not suffice."""
    for step in range(max_steps):
        if world.step(world.expert_action()):
            return step + 1
    return None
