"""What one unit of collecting records: a few episodes of one kind of one task, from seeds of their own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tau0.collect.behaviours import Behaviour, failing, recovering
from tau0.collect.branches import branch_frames, group_behaviours, record_branch
from tau0.collect.episode import Film, Script, film, rehearse
from tau0.data.progress import failed_progress, success_progress
from tau0.data.schema import EpisodeMeta, EpisodeRecord, Kind
from tau0.worlds.instructions import train_instructions
from tau0.worlds.protocol import World

FIRST_SEED = 1_000_000
"""Collecting uses seeds from here on; evaluation uses smaller ones, so no model is tested on what it was shown."""

MAX_DEMONSTRATION_STEPS = 300
FAILURE_STEPS = {"two-arm-handover": (140, 221)}
"""Lengths of failures, from and below, where a task is longer than others: a failure must not be a success that was cut off."""

_FAILURE_STEPS = (60, 121)
GROUPS_PER_PARENT = 2
_EPISODES_PER_UNIT = {"demonstration": 6, "failure": 8, "branch": 4}
_FAILED_PARENTS = 0.3
_MAX_TRIES = 40


class CollectError(RuntimeError):
    """Collecting cannot go on. The message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A piece of work that is done as a whole or not at all.

    Attributes:
        task: Such as "reach-v3".
        kind: What it records; a "branch" unit records parents and their branches.
        number: Counts the units of one task and kind.
        episodes: Demonstrations, failures or branch groups to record.
        seed: Of the whole collection.
    """

    task: str
    kind: Kind
    number: int
    episodes: int
    seed: int

    @property
    def name(self) -> str:
        """Its folder, and what keeps its random numbers apart from those of other units."""
        return f"{self.task}-{self.kind}-{self.number:04d}"

    def generator(self) -> np.random.Generator:
        """All randomness of this unit."""
        return np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])


def plan_units(task: str, counts: dict[Kind, int], seed: int) -> list[Unit]:
    """Units that together record `counts` demonstrations, failures and branch groups of one task."""
    units = []
    for kind, total in counts.items():
        size = _EPISODES_PER_UNIT[kind] * (GROUPS_PER_PARENT if kind == "branch" else 1)
        for number, start in enumerate(range(0, total, size)):
            units.append(Unit(task=task, kind=kind, number=number, episodes=min(size, total - start), seed=seed))
    return units


def record_unit(world: World, unit: Unit) -> Iterator[EpisodeRecord]:
    """The unit's episodes, in the order in which they are to be written: a parent before its branches."""
    rng = unit.generator()
    if unit.kind == "branch":
        yield from _record_branches(world, unit, rng)
        return
    for _ in range(unit.episodes):
        script = _find_script(world, unit.kind, rng)
        yield _episode(script, film(world, script), _meta(unit.task, unit.kind, script, rng))


def _record_branches(world: World, unit: Unit, rng: np.random.Generator) -> Iterator[EpisodeRecord]:
    grippers = world.embodiment.action.gripper
    written, group, steps = 0, 0, world.embodiment.action_horizon + world.embodiment.frame_stride
    while group < unit.episodes:
        kind: Kind = "failure" if rng.random() < _FAILED_PARENTS else "demonstration"
        script = _find_script(world, kind, rng)
        frames = branch_frames(script, min(GROUPS_PER_PARENT, unit.episodes - group), rng, grippers)
        filmed = film(world, script, frames)
        meta = _meta(unit.task, kind, script, rng)
        parent = written
        yield _episode(script, filmed, meta)
        written += 1
        for frame in frames:
            for name, behaviour in group_behaviours(rng, len(grippers)):
                branch = EpisodeMeta(
                    task=unit.task,
                    kind="branch",
                    success=False,
                    seed=script.seed,
                    instruction=meta.instruction,
                    branch=name,
                    group=group,
                    parent=parent,
                    parent_frame=frame,
                )
                yield record_branch(world, filmed.snapshots[frame], behaviour, branch, steps)
                written += 1
            group += 1


def _find_script(world: World, kind: Kind, rng: np.random.Generator) -> Script:
    """Rehearses until an episode succeeds (a demonstration) or fails (a failure); demonstrations get calmer with every try."""
    for attempt in range(_MAX_TRIES):
        seed = int(rng.integers(FIRST_SEED, 2**31))
        behaviour, max_steps = _casting(world, kind, rng, attempt)
        script = rehearse(world, seed, behaviour, max_steps)
        if script.succeeds == (kind == "demonstration"):
            return script
    wanted = "succeed" if kind == "demonstration" else "fail"
    raise CollectError(f"{world.task}: none of {_MAX_TRIES} attempts at a {kind} did {wanted}; collect this task without that kind")


def _casting(world: World, kind: Kind, rng: np.random.Generator, attempt: int) -> tuple[Behaviour, int]:
    hands = len(world.embodiment.action.gripper)
    choices: dict[str, Callable[[], tuple[Behaviour, int]]] = {
        "demonstration": lambda: (recovering(rng, 0.8**attempt, hands), MAX_DEMONSTRATION_STEPS),
        "failure": lambda: (failing(rng, hands), int(rng.integers(*FAILURE_STEPS.get(world.task, _FAILURE_STEPS)))),
    }
    return choices[kind]()


def _meta(task: str, kind: Kind, script: Script, rng: np.random.Generator) -> EpisodeMeta:
    words = train_instructions(task)
    return EpisodeMeta(
        task=task,
        kind=kind,
        success=script.succeeds,
        seed=script.seed,
        instruction=words[int(rng.integers(len(words)))],
        behaviour=script.behaviour,
    )


def _episode(script: Script, filmed: Film, meta: EpisodeMeta) -> EpisodeRecord:
    return EpisodeRecord(
        meta=meta,
        images=filmed.images,
        state=filmed.state,
        action=script.actions,
        expert_action=script.labels,
        progress=success_progress(len(script)) if script.succeeds else failed_progress(len(script)),
        next_success=script.solved,
    )
