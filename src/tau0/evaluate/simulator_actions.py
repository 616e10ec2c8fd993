"""Whether actions matter to a simulator, and in the right direction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tau0.checkpoint import Checkpoint
from tau0.data.windows import Rows
from tau0.evaluate.simulator_direction import direction_card
from tau0.evaluate.simulator_intervals import ratio_interval
from tau0.evaluate.simulator_passes import Passes
from tau0.evaluate.simulator_pictures import Recorded
from tau0.evaluate.simulator_results import ActionCard, DirectionCard
from tau0.evaluate.statistics import Interval


def action_card(
    passes: Passes, moving: NDArray[np.bool_], families: Rows, direction: DirectionCard | None, rng: np.random.Generator
) -> ActionCard:
    """How errors grow, and how futures change, with other actions than the own ones."""
    errors, copied = passes.errors, passes.errors["copy"].everywhere
    own, everyone = errors["future"].everywhere, np.ones(len(moving), np.bool_)

    def increase(name: str, chosen: NDArray[np.bool_]) -> Interval:
        return _increase(errors[name].everywhere[chosen], own[chosen], families[chosen], rng)

    has_sibling = passes.siblings != np.arange(len(moving))
    return ActionCard(
        swapped=increase("swapped", everyone),
        moving=increase("swapped", moving),
        same_state=_increase(errors["same_state"].everywhere, own[has_sibling], families[has_sibling], rng) if has_sibling.any() else None,
        negated=increase("negated", moving),
        zeroed=increase("zeroed", moving),
        drawn=increase("drawn", moving),
        change={name: ratio_interval(change[moving], copied[moving], families[moving], rng) for name, change in passes.changes.items()},
        direction=direction,
    )


def direction_of(
    passes: Passes, recorded: Recorded | None, checkpoint: Checkpoint, families: Rows, rng: np.random.Generator
) -> DirectionCard | None:
    """Which way imagined motion goes; None without recorded states, or where they do not change."""
    if recorded is None:
        return None
    body, num_future = checkpoint.config.embodiment, checkpoint.config.sampling.num_future
    steps = (body.action_horizon - 1) * np.arange(num_future + 1) // num_future
    rows = passes.windows.rows[:, None] + steps
    states = recorded.states(rows.reshape(-1)).reshape(*rows.shape, -1).astype(np.float64)
    last = passes.last
    imagined = {name: last[name] for name in ("future", "negated", "zeroed", "swapped")}
    return direction_card(passes.frames, states, imagined, passes.donors, families, body.state_names, rng)


def _increase(changed: NDArray[np.float64], own: NDArray[np.float64], families: Rows, rng: np.random.Generator) -> Interval:
    grown = ratio_interval(changed, own, families, rng)
    return Interval(estimate=grown.estimate - 1, low=grown.low - 1, high=grown.high - 1)
