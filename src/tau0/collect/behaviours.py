"""What can drive the robot while it is recorded. A behaviour gets the world and the expert's label, and says what to execute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tau0.collect.motions import motions_of, with_grippers, with_grippers_flipped
from tau0.contract import Float
from tau0.worlds.protocol import Misbelief, World

Act = Callable[[World, Float, int], Float]
"""(world, what the expert would do, step since the behaviour took over) -> what to execute, shape (da,), within the limits."""

OPEN, CLOSED = 0.0, 1.0
"""As shares of a gripper's range."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A named way to act. Behaviours that draw random numbers while acting are made anew for every execution.

    Attributes:
        name: Recorded with the episode.
        act: What it executes.
    """

    name: str
    act: Act


def expert() -> Behaviour:
    """The scripted expert itself."""
    return Behaviour(name="expert", act=lambda _world, label, _step: label)


def recovering(rng: np.random.Generator, calmness: float = 1.0, hands: int = 1) -> Behaviour:
    """The expert, disturbed: noise in bursts, short pushes in a random direction, sometimes a detour at the start.

    What is executed is disturbed; what is learnt is the expert's answer to where that led, so a policy sees how to come back.

    Args:
        rng: All randomness of this execution.
        calmness: Scales every disturbance, in (0, 1]; smaller where the expert did not recover.
        hands: Of the robot. Each has disturbances of its own.
    """
    scale = float(rng.choice([0.0, 0.2, 0.5, 1.0], p=[0.2, 0.3, 0.3, 0.2])) * calmness
    detour_steps = int(rng.integers(5, 25)) if rng.random() < 0.5 * calmness else 0
    detour = _direction(rng, hands)
    state = {"burst": 0, "push": 0, "direction": detour, "flip": False}

    def act(world: World, label: Float, step: int) -> Float:
        motions = motions_of(world.embodiment)
        if step < detour_steps:
            return motions.moved(world, label, 0.0, detour)
        if state["burst"] == 0 and rng.random() < 0.05:
            state["burst"] = int(rng.integers(5, 30))
        if state["push"] == 0 and rng.random() < 0.015 * calmness:
            state.update(push=int(rng.integers(5, 13)), direction=_direction(rng, hands), flip=rng.random() < 0.15)
        if state["push"]:
            state["push"] -= 1
            pushed = motions.moved(world, label, 0.0, state["direction"])
            return with_grippers_flipped(pushed, motions.spec) if state["flip"] else pushed
        if state["burst"]:
            state["burst"] -= 1
            return motions.moved(world, label, 1.0, rng.normal(0.0, max(scale, 1e-6), 3 * hands))
        return motions.moved(world, label, 1.0, rng.normal(0.0, 0.3 * scale + 1e-6, 3 * hands))

    return Behaviour(name="recovering", act=act)


def mistaken(rng: np.random.Generator, least_m: float, most_m: float) -> Behaviour:
    """The expert with a wrong belief about where the objects, the goal, or both are, off by `least_m` to `most_m` metres."""
    which = rng.choice(["objects", "goal", "both"])
    offset = _direction(rng)
    offset *= float(rng.uniform(least_m, most_m)) / np.linalg.norm(offset)
    shift = (float(offset[0]), float(offset[1]), float(0.5 * offset[2]))
    nothing = (0.0, 0.0, 0.0)
    belief = Misbelief(objects=nothing if which == "goal" else shift, goal=nothing if which == "objects" else shift)
    return Behaviour(name=f"mistaken {which}", act=lambda world, _label, _step: world.expert_action(belief))


def failing(rng: np.random.Generator, hands: int = 1) -> Behaviour:
    """One of several ways to fail; whether it does is for the world to say."""
    choice = rng.choice(["mistaken", "open", "drops", "freezes", "noisy"], p=[0.4, 0.1, 0.15, 0.15, 0.2])
    onset = int(rng.integers(5, 30))
    if choice == "mistaken":
        return mistaken(rng, 0.08, 0.2)
    if choice == "noisy":
        return _noisy(rng, hands)
    if choice == "freezes":
        return Behaviour(name="freezes", act=lambda world, label, step: label if step < onset else _moved(world, label, 0.0, hands))
    since = 0 if choice == "open" else onset
    return Behaviour(name=str(choice), act=lambda world, label, step: label if step < since else _opened(world, label))


def weak(rng: np.random.Generator, hands: int = 1) -> Behaviour:
    """Less than half of what the expert does, and a constant drift."""
    drift = (0.5 * _direction(rng, hands)).astype(np.float32)
    return Behaviour(name="weak", act=lambda world, label, _s: motions_of(world.embodiment).moved(world, label, 0.4, drift))


def negated(hands: int = 1) -> Behaviour:
    """The opposite of the expert's motion."""
    return Behaviour(name="negated", act=lambda world, label, _s: _moved(world, label, -1.0, hands))


def constant(rng: np.random.Generator, hands: int = 1) -> Behaviour:
    """One direction, at a random speed, with the gripper open or closed."""
    way, closed = _direction(rng, hands) * rng.uniform(0.4, 1.0), float(rng.choice([OPEN, CLOSED]))

    def act(world: World, label: Float, _step: int) -> Float:
        motions = motions_of(world.embodiment)
        return with_grippers(motions.moved(world, label, 0.0, way), motions.spec, closed)

    return Behaviour(name="constant", act=act)


def standing_still(hands: int = 1) -> Behaviour:
    """No motion; the gripper as the expert has it."""
    return Behaviour(name="still", act=lambda world, label, _s: _moved(world, label, 0.0, hands))


def wrong_pair(rng: np.random.Generator, hands: int = 1) -> tuple[Behaviour, Behaviour]:
    """Two different wrong ways to act: a random direction, and the opposite of the expert, another direction, or standing still."""
    other = str(rng.choice(["negated", "constant", "still"], p=[0.4, 0.3, 0.3]))
    choices = {"negated": lambda: negated(hands), "constant": lambda: constant(rng, hands), "still": lambda: standing_still(hands)}
    return constant(rng, hands), choices[other]()


def _noisy(rng: np.random.Generator, hands: int) -> Behaviour:
    """A quarter of the expert, grippers included, and noise over it."""

    def act(world: World, label: Float, _step: int) -> Float:
        motions = motions_of(world.embodiment)
        noise = rng.normal(0.0, 1.0, 4 * hands).astype(np.float32).reshape(hands, 4)
        action = motions.moved(world, label, 0.25, noise[:, :3].ravel())
        for index, extra in zip(motions.spec.gripper, noise[:, 3], strict=True):
            action[index] = 0.25 * label[index] + extra
        return motions.spec.clip(action).astype(np.float32)

    return Behaviour(name="noisy", act=act)


def _direction(rng: np.random.Generator, hands: int = 1) -> Float:
    """A random direction of motion for every hand, shape (3 hands,), the largest component of each 1 in size."""
    vectors = rng.normal(size=(hands, 3))
    return (vectors / np.abs(vectors).max(axis=1, keepdims=True)).astype(np.float32).ravel()


def _moved(world: World, label: Float, share: float, hands: int) -> Float:
    return motions_of(world.embodiment).moved(world, label, share, np.zeros(3 * hands, np.float32))


def _opened(world: World, label: Float) -> Float:
    return with_grippers(label, world.embodiment.action, OPEN)
