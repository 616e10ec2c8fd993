"""Which worlds there are: suites of tasks by name, and the world of each task. Nothing here loads a simulator before it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tau0.contract import Embodiment
from tau0.limits import SafetyLimits
from tau0.worlds import metaworld, two_arm
from tau0.worlds.instructions import check_task
from tau0.worlds.metaworld import DEMO_SUITE, MT50
from tau0.worlds.protocol import World
from tau0.worlds.two_arm import TWO_ARM

MT50_MEDIUM = tuple(
    f"{name}-v3"
    for name in (
        "basketball", "bin-picking", "box-close", "coffee-pull", "coffee-push", "hammer", "peg-insert-side", "push-wall", "soccer",
        "sweep", "sweep-into",
    )
)  # fmt: skip
MT50_HARD = tuple(f"{name}-v3" for name in ("assembly", "hand-insert", "pick-out-of-hole", "pick-place", "push", "push-back"))
MT50_VERY_HARD = tuple(f"{name}-v3" for name in ("shelf-place", "disassemble", "stick-pull", "stick-push", "pick-place-wall"))
MT50_EASY = tuple(task for task in MT50 if task not in {*MT50_MEDIUM, *MT50_HARD, *MT50_VERY_HARD})
"""The 28 tasks that are in no other group. The groups are those of Seo et al. 2023, in which SmolVLA and LeRobot report MT50."""

ML45_TEST = tuple(f"{name}-v3" for name in ("bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock"))
"""The five tasks that Meta-World's ML45 keeps from training."""

SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "demo": DEMO_SUITE,
        "mt50": MT50,
        "mt50-easy": MT50_EASY,
        "mt50-medium": MT50_MEDIUM,
        "mt50-hard": MT50_HARD,
        "mt50-very-hard": MT50_VERY_HARD,
        "ml45-train": tuple(task for task in MT50 if task not in ML45_TEST),
        "ml45-test": ML45_TEST,
        "two-arm": TWO_ARM,
    }
)

ROBOTS: Mapping[str, Embodiment] = MappingProxyType({robot.name: robot for robot in (metaworld.EMBODIMENT, two_arm.EMBODIMENT)})
"""By name, as a recording names them."""

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"easy": MT50_EASY, "medium": MT50_MEDIUM, "hard": MT50_HARD, "very hard": MT50_VERY_HARD}
)
"""Of MT50, by difficulty: results are published for each group, and as the mean of the four."""


class MixedRobotsError(ValueError):
    """Tasks of different robots where one robot is needed."""


def make_world(task: str, max_steps: int | None = None) -> World:
    """The world of one task.

    Args:
        task: Of any suite.
        max_steps: Control steps after which an episode has failed; the world's own number unless given.

    Raises:
        UnknownTaskError: There is no such task; the message says what was probably meant.
        ModuleNotFoundError: The task's simulator is not installed.
    """
    room = two_arm if check_task(task) in TWO_ARM else metaworld
    return room.make_world(task) if max_steps is None else room.make_world(task, max_steps)


def embodiment_of(tasks: Iterable[str]) -> Embodiment:
    """The robot that all of these tasks share.

    Raises:
        UnknownTaskError: There is no such task.
        MixedRobotsError: They have different robots, or there is no task.
    """
    robots = {task: two_arm.EMBODIMENT if check_task(task) in TWO_ARM else metaworld.EMBODIMENT for task in tasks}
    first = next(iter(robots), None)
    if first is None:
        raise MixedRobotsError("give at least one task")
    for task, robot in robots.items():
        if robot != robots[first]:
            raise MixedRobotsError(f"{first} is a task of {robots[first].name} and {task} of {robot.name}: they cannot go together")
    return robots[first]


def known_limits(embodiment: Embodiment) -> SafetyLimits | None:
    """The safety limits of one of these worlds' robots, told by what its state and actions are; None for any other robot."""
    for world in (metaworld, two_arm):
        robot = world.EMBODIMENT
        if (robot.state_names, robot.action) == (embodiment.state_names, embodiment.action):
            return world.SAFETY
    return None


def limits_of(embodiment: Embodiment) -> SafetyLimits:
    """Limits for a checkpoint that has none of its own: those of a robot that is known, otherwise the range of its actions alone.

    A robot that is not known is sent nothing where it should hold still (`SafetyLimits.unknown`): its own controller has to.
    """
    return known_limits(embodiment) or SafetyLimits.unknown(embodiment.action)
