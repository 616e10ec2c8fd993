"""Where success is lost between perfect and what the full loop reaches, on the same episodes in every mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from tau0.evaluate.one_evaluation import check_one_evaluation, check_one_wording
from tau0.evaluate.points import points_text
from tau0.evaluate.records import EpisodeRecord, RecordsError
from tau0.evaluate.report_words import plural
from tau0.evaluate.statistics import Interval, paired_difference, wilson_interval

NEEDED = ("single", "unrevised", "full", "oracle", "oracle-gated")

_PARTS = (
    ("solved by the first sample", None, "single", 1),
    ("covered by the proposals", None, "oracle", 1),
    ("lost: no candidate leads there", "oracle", None, -1),
    ("lost: the score trusts or imagines worse candidates", "oracle-gated", "oracle", -1),
    ("lost: the simulator errs", "unrevised", "oracle-gated", -1),
    ("gained by revision", "unrevised", "full", 1),
    ("solved by the full loop", None, "full", 1),
)


@dataclass(frozen=True, kw_only=True)
class LossPart:
    """One line of the split.

    Attributes:
        name: In words.
        share: Of all episodes; losses are negative. Of a rate with Wilson's interval, and of what is lost because no candidate leads
            there, which is what a rate lacks of 1; of the others, with a bootstrap interval clustered by task.
        is_rate: A success rate, not a difference of two.
    """

    name: str
    share: Interval
    is_rate: bool


@dataclass(frozen=True, kw_only=True)
class LossSplit:
    """The split of one suite.

    Attributes:
        episodes: How many are paired.
        tasks: How many they belong to.
        parts: In the order of the formula.
    """

    episodes: int
    tasks: int
    parts: tuple[LossPart, ...]


def split_loss(records: Sequence[EpisodeRecord], seed: int = 0) -> LossSplit:
    """How much of success is lost where.

    With `S_m` the success rate of mode m on the same episodes (task, seed, instruction):

        S_full = 1 - (1 - S_oracle)                  no candidate leads there: the proposals
                   - (S_oracle - S_gated)            the score let a worse candidate pass, or be imagined instead: ranking
                   - (S_gated - S_unrevised)         the same decisions, imagined instead of tried: the simulator's error
                   + (S_full - S_unrevised)          revision

    where `oracle` executes at every decision the candidate that ends soonest in success when all are really executed and the expert goes
    on after each; `oracle-gated` does so where the gate does not let the most consistent one pass, among the candidates that are imagined
    there, and executes the most consistent one elsewhere; `unrevised` asks the simulator instead of the physics about exactly these, and
    `full` then revises. Where fewer are imagined than drawn (--futures), the score decides both what is trusted and what is imagined, so
    what is lost because a candidate never was is the score's loss. The four parts add up by construction. A part can have the other sign:
    the oracle looks one chunk ahead, and measures with an expert that acts unlike the policy. The simulator's part also holds what
    `Rehearsal` names: an oracle may pick a candidate that stands still, and executes as many steps as it tried.

    Intervals: Wilson's for rates, whose trials are episodes; for differences episodes are resampled within resampled tasks
    (`paired_difference`).

    Args:
        records: Of the modes `NEEDED`, others are ignored. Only episodes that all of them have run count.
        seed: Of the bootstrap.

    Raises:
        RecordsError: A mode is missing, no episode was run in all of them, or they are not of one evaluation and wording.
    """
    check_one_evaluation(records)
    check_one_wording(records)
    solved: dict[str, dict[tuple[str, int, str | None], bool]] = {mode: {} for mode in NEEDED}
    for record in records:
        if record.result.mode in solved:
            solved[record.result.mode][record.result.task, record.result.seed, record.requested_instruction] = record.result.success
    if missing := [mode for mode in NEEDED if not solved[mode]]:
        raise RecordsError(f"the split of the loss needs episodes of modes {', '.join(NEEDED)}; there are none of {', '.join(missing)}")
    shared = sorted(set.intersection(*(set(outcomes) for outcomes in solved.values())), key=repr)
    if not shared:
        raise RecordsError(f"no episode was run in all of the modes {', '.join(NEEDED)}: run them with the same tasks and seeds")
    tasks = [task for task, _, _ in shared]
    values = {mode: np.array([outcomes[key] for key in shared], np.float64) for mode, outcomes in solved.items()}
    parts = []
    for name, before, after, sign in _PARTS:
        if before is not None and after is not None:
            share = paired_difference(values[before], values[after], tasks, np.random.default_rng(seed))
        else:
            counted = values[after] if after is not None else 1 - values[str(before)]
            share = wilson_interval(int(counted.sum()), len(shared))
        parts.append(LossPart(name=name, share=_signed(share, sign), is_rate=before is None))
    return LossSplit(episodes=len(shared), tasks=len(set(tasks)), parts=tuple(parts))


def loss_table(split: LossSplit) -> Table:
    """The split for a terminal."""
    counted = f"{plural(split.episodes, 'episode')} of {plural(split.tasks, 'task')}"
    caption = (
        "Covered - lost + gained = solved by the full loop. Intervals are 95%: Wilson's for rates, for differences episodes and tasks "
        "drawn again."
    )
    table = Table(title=f"where success is lost, {counted}", caption=caption)
    table.add_column("part")
    table.add_column("share of episodes", justify="right")
    for part in split.parts:
        low, high = part.share.low, part.share.high
        text = f"{part.share.estimate:.0%} [{low:.0%}, {high:.0%}]"
        table.add_row(part.name, text if part.is_rate else points_text(part.share))
    return table


def _signed(interval: Interval, sign: int) -> Interval:
    if sign > 0:
        return interval
    return Interval(estimate=0.0 - interval.estimate, low=0.0 - interval.high, high=0.0 - interval.low)
