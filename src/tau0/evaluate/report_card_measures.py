"""What the report's page calls each number of a simulator's card, and how to read numbers from a card of any version."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of the card that the page has words for.

    Attributes:
        path: Where its interval lies in the JSON.
        words: What it says.
        wanted: What is asked of a shipped checkpoint.
        chance: What chance would give: a number, or where the JSON says it.
        unit: "%" for shares, "" for correlations, "s" for seconds.
        reached: Where the JSON says whether a time was reached at all; where it was not, the recordings ended before.
    """

    path: str
    words: str
    wanted: float | None = None
    chance: str | float | None = None
    unit: str = "%"
    reached: str = ""


SECTIONS: dict[str, tuple[str, tuple[Measure, ...]]] = {
    "Does it foresee what happens?": (
        "How much smaller its error is than a still picture's: 0% is no better than copying the present, 100% is perfect.",
        (
            Measure(path="future.moving", words="where something moves", wanted=0.3),
            Measure(path="future.everywhere", words="everywhere"),
            Measure(path="future.on_what_moves", words="only the parts of the picture that change"),
            Measure(path="future.by_kind.demonstration", words="in demonstrations"),
            Measure(path="future.by_kind.branch", words="in variations of them"),
            Measure(path="future.by_kind.failure", words="in failures"),
            Measure(path="picture.moving", words="where something moves, with the sampler that draws pictures"),
        ),
    ),
    "Does it listen to the actions?": (
        "How much its error grows when it is given the actions of another moment: at 0% the actions would not matter to it.",
        (
            Measure(path="actions.swapped", words="actions of any other moment", wanted=0.25),
            Measure(path="actions.moving", words="where something moves"),
            Measure(path="actions.same_state", words="actions of another attempt from the same moment"),
            Measure(path="actions.negated", words="the opposite motion"),
            Measure(path="actions.zeroed", words="no motion"),
            Measure(path="actions.drawn", words="a random motion"),
        ),
    ),
    "Does its progress mean anything?": (
        "How often it promises more to a success than to a failure, and whether it knows the best of several attempts.",
        (
            Measure(path="progress.auroc", words="success above failure", wanted=0.8, chance=0.5),
            Measure(path="progress.auroc_last", words="by the last step of its promise", chance=0.5),
            Measure(path="progress.auroc_late", words="in the second half of episodes", chance=0.5),
            Measure(path="progress.top", words="best attempt from one moment found", chance="progress.top_by_chance"),
            Measure(path="progress.ranking", words="rank correlation among attempts from one moment", chance=0.0, unit=""),
            Measure(path="progress.rank_all", words="rank correlation with true progress", chance=0.0, unit=""),
            Measure(path="progress.rank_successes", words="the same in demonstrations alone", chance=0.0, unit=""),
            Measure(path="progress.within", words="the same step by step within one plan", chance=0.0, unit=""),
            Measure(path="progress.flat", words="promises that hardly change from step to step"),
        ),
    ),
    "Does it move the right way?": (
        "The robot's motion is read from imagined pictures and compared with the motion that was measured: 1 agrees, below 0 is opposite.",
        (
            Measure(path="actions.direction.read_from_real", words="read from real pictures: the most that can be had", unit=""),
            Measure(path="actions.direction.own", words="with the true actions", unit=""),
            Measure(path="actions.direction.negated", words="with the opposite actions (below 0 is right)", unit=""),
            Measure(path="actions.direction.swapped", words="with another moment's actions, against its motion", unit=""),
            Measure(path="actions.direction.motion_when_zeroed", words="motion left when the actions are zero (0% is right)"),
        ),
    ),
    "Does it rank plans as physics does?": (
        "The policy's own plans are imagined, and each is really executed from the same restored state. Chance is one half.",
        (
            Measure(path="physics.progress", words="the better of two plans promised more", chance=0.5),
            Measure(path="physics.score", words="the better of two plans believed in more", chance=0.5),
            Measure(path="physics.top", words="the most promising plan is among the best", chance="physics.top_by_chance"),
        ),
    ),
    "How long can it dream?": (
        "From the first picture to the end of an episode, each film imagined from imagined films.",
        (
            Measure(path="rollouts.horizon_s", words="time until a still picture is as good", unit="s", reached="rollouts.is_broken"),
            Measure(path="rollouts.late_horizon_s", words="time until a late camera is as good", unit="s", reached="rollouts.is_late"),
            Measure(path="rollouts.unbroken", words="episodes imagined better than still to their end"),
            Measure(path="rollouts.lasted", words="share of all moments before the dream breaks"),
        ),
    ),
}
SAID_ELSEWHERE = frozenset(
    (
        *("fingerprint", "num_windows", "num_moving", "num_episodes", "progress.num_groups", "progress.top_by_chance"),
        *("physics.top_by_chance", "rollouts.is_broken", "rollouts.frames", "progress.calibration", "pictures.views"),
    )
)


def at(card: Any, path: str) -> Any:
    """What a card holds at a path of names joined by dots; None where there is nothing."""
    for key in path.split("."):
        card = card.get(key) if isinstance(card, Mapping) else None
    return card


def finite(value: Any) -> float | None:
    """A number; None for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def interval_of(value: Any) -> tuple[float, float, float] | None:
    """Estimate, low and high; a bare number is its own interval; None for what is neither."""
    if (alone := finite(value)) is not None:
        return alone, alone, alone
    if not isinstance(value, Mapping) or (estimate := finite(value.get("estimate"))) is None:
        return None
    low, high = finite(value.get("low")), finite(value.get("high"))
    return estimate, estimate if low is None else low, estimate if high is None else high
