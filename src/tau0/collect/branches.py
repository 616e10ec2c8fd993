"""Branches: several different chunks executed from one and the same state.

They show a simulator that actions matter, and rank chunks by truth: how long the expert still needs after each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tau0.collect.behaviours import Behaviour, expert, mistaken, weak, wrong_pair
from tau0.collect.episode import TAIL_STEPS, Camera, Script, steps_to_solve
from tau0.data.progress import failed_progress, window_progress
from tau0.data.schema import Branch, EpisodeMeta, EpisodeRecord
from tau0.worlds.protocol import World

BRANCHES_PER_GROUP = 5
MAX_REMAINING_STEPS = 250


def branch_frames(script: Script, count: int, rng: np.random.Generator, grippers: tuple[int, ...] = (3,)) -> list[int]:
    """Frames of an episode to branch at, ascending: likelier around the expert's gripper changes and in the last third before success."""
    last = script.solved_at
    frames = np.arange(last)
    weights = np.ones(last)
    changes = np.flatnonzero((np.abs(np.diff(script.labels[:last, list(grippers)], axis=0)) > 0.5).any(1))
    if len(changes):
        weights += 3.0 * (np.abs(frames[:, None] - changes[None]).min(1) < 12)
    weights += 2.0 * (frames >= (2 * last) // 3)
    return sorted(int(f) for f in rng.choice(frames, size=min(count, last), replace=False, p=weights / weights.sum()))


def group_behaviours(rng: np.random.Generator, hands: int = 1) -> list[tuple[Branch, Behaviour]]:
    """The five chunks of a group: the expert's, two near misses, two wrong ones."""
    first, second = wrong_pair(rng, hands)
    return [
        ("expert", expert()),
        ("near_miss", mistaken(rng, 0.05, 0.12)),
        ("near_miss", weak(rng, hands)),
        ("wrong", first),
        ("wrong", second),
    ]


def record_branch(world: World, snapshot: Any, behaviour: Behaviour, meta: EpisodeMeta, steps: int) -> EpisodeRecord:
    """Executes a behaviour for `steps` rows from a snapshot, then lets the expert finish unseen to label how far it was.

    Progress follows the demonstrations: an episode that is solved after s actions ends `TAIL_STEPS` later, and is 1 there. Here s
    counts the branch's own actions and those of the expert after its last frame; it is -1 everywhere when the expert cannot finish.

    Args:
        world: Where; its state is left undefined.
        snapshot: The shared state, the branch's first frame.
        behaviour: What acts.
        meta: Of the branch, but for success and remaining steps.
        steps: Rows to record.
    """
    world.restore(snapshot)
    camera, actions, labels, solved = Camera(), [], [], []
    last: Any = None
    for step in range(steps):
        camera.shoot(world)
        label = world.expert_action()
        actions.append(behaviour.act(world, label, step))
        labels.append(label)
        if step == steps - 1:
            last = world.snapshot()
        solved.append(world.step(actions[-1]))
    world.restore(last)
    reached = np.array(solved, np.bool_)
    remaining, solved_after = _time_to_success(world, reached)
    film = camera.developed()
    return EpisodeRecord(
        meta=replace(meta, success=bool(reached.any()), remaining=remaining, behaviour=behaviour.name),
        images=film.images,
        state=film.state,
        action=np.stack(actions),
        expert_action=np.stack(labels),
        progress=failed_progress(steps) if solved_after is None else window_progress(steps, solved_after + TAIL_STEPS),
        next_success=reached,
    )


def _time_to_success(world: World, solved: np.ndarray) -> tuple[int, int | None]:
    """(the expert's steps after the last frame, or -1; actions from the first frame until solved for good, or None)."""
    before_last = solved[:-1]
    if before_last[-1]:
        unsolved = np.flatnonzero(~before_last)
        return 0, int(unsolved[-1]) + 2 if len(unsolved) else 1
    remaining = steps_to_solve(world, MAX_REMAINING_STEPS)
    return (-1, None) if remaining is None else (remaining, len(before_last) + remaining)
