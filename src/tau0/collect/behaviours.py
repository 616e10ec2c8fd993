"""What can drive the robot while it is recorded. A behaviour gets the world and the expert's label, and says what to execute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tau0.contract import Float
from tau0.worlds.protocol import Misbelief, World

Act = Callable[[World, Float, int], Float]
"""(world, what the expert would do, step since the behaviour took over) -> what to execute, shape (da,), in [-1, 1]."""

GRIPPER = 3
OPEN, CLOSED = -1.0, 1.0


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


def recovering(rng: np.random.Generator, calmness: float = 1.0) -> Behaviour:
    """The expert, disturbed: noise in bursts, short pushes in a random direction, sometimes a detour at the start.

    What is executed is disturbed; what is learnt is the expert's answer to where that led, so a policy sees how to come back.

    Args:
        rng: All randomness of this execution.
        calmness: Scales every disturbance, in (0, 1]; smaller where the expert did not recover.
    """
    scale = float(rng.choice([0.0, 0.2, 0.5, 1.0], p=[0.2, 0.3, 0.3, 0.2])) * calmness
    detour_steps = int(rng.integers(5, 25)) if rng.random() < 0.5 * calmness else 0
    detour = _direction(rng)
    state = {"burst": 0, "push": 0, "direction": detour, "flip": False}

    def act(_world: World, label: Float, step: int) -> Float:
        action = label.copy()
        if step < detour_steps:
            action[:GRIPPER] = detour
            return action
        if state["burst"] == 0 and rng.random() < 0.05:
            state["burst"] = int(rng.integers(5, 30))
        if state["push"] == 0 and rng.random() < 0.015 * calmness:
            state.update(push=int(rng.integers(5, 13)), direction=_direction(rng), flip=rng.random() < 0.15)
        if state["push"]:
            state["push"] -= 1
            action[:GRIPPER] = state["direction"]
            action[GRIPPER] *= -1.0 if state["flip"] else 1.0
        elif state["burst"]:
            state["burst"] -= 1
            action[:GRIPPER] += rng.normal(0.0, max(scale, 1e-6), 3)
        else:
            action[:GRIPPER] += rng.normal(0.0, 0.3 * scale + 1e-6, 3)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

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


def failing(rng: np.random.Generator) -> Behaviour:
    """One of several ways to fail; whether it does is for the world to say."""
    choice = rng.choice(["mistaken", "open", "drops", "freezes", "noisy"], p=[0.4, 0.1, 0.15, 0.15, 0.2])
    onset = int(rng.integers(5, 30))
    if choice == "mistaken":
        return mistaken(rng, 0.08, 0.2)
    if choice == "noisy":
        return Behaviour(name="noisy", act=lambda _w, label, _s: _mixed(label, 0.25, rng.normal(0.0, 1.0, 4).astype(np.float32)))
    if choice == "freezes":
        return Behaviour(name="freezes", act=lambda _w, label, step: label if step < onset else _still(label))
    since = 0 if choice == "open" else onset
    return Behaviour(name=str(choice), act=lambda _w, label, step: label if step < since else _with_gripper(label, OPEN))


def weak(rng: np.random.Generator) -> Behaviour:
    """Less than half of what the expert does, and a constant drift."""
    drift = np.append(0.5 * _direction(rng), 0.0).astype(np.float32)
    return Behaviour(name="weak", act=lambda _w, label, _s: _with_gripper(_mixed(label, 0.4, drift), float(label[GRIPPER])))


def negated() -> Behaviour:
    """The opposite of the expert's motion."""
    return Behaviour(name="negated", act=lambda _w, label, _s: _with_gripper(-label, float(label[GRIPPER])))


def constant(rng: np.random.Generator) -> Behaviour:
    """One direction, at a random speed, with the gripper open or closed."""
    action = np.append(_direction(rng) * rng.uniform(0.4, 1.0), rng.choice([OPEN, CLOSED])).astype(np.float32)
    return Behaviour(name="constant", act=lambda _w, _label, _s: action)


def standing_still() -> Behaviour:
    """No motion; the gripper as the expert has it."""
    return Behaviour(name="still", act=lambda _w, label, _s: _still(label))


def wrong_pair(rng: np.random.Generator) -> tuple[Behaviour, Behaviour]:
    """Two different wrong ways to act: a random direction, and the opposite of the expert, another direction, or standing still."""
    other = str(rng.choice(["negated", "constant", "still"], p=[0.4, 0.3, 0.3]))
    return constant(rng), {"negated": negated, "constant": lambda: constant(rng), "still": standing_still}[other]()


def _direction(rng: np.random.Generator) -> Float:
    """A random direction of motion, shape (3,), its largest component 1 in size."""
    vector = rng.normal(size=3)
    return (vector / np.abs(vector).max()).astype(np.float32)


def _mixed(label: Float, share: float, rest: Float) -> Float:
    return np.clip(share * label + rest, -1.0, 1.0).astype(np.float32)


def _with_gripper(action: Float, gripper: float) -> Float:
    changed = action.copy()
    changed[GRIPPER] = gripper
    return changed


def _still(label: Float) -> Float:
    return _with_gripper(np.zeros_like(label), float(label[GRIPPER]))
