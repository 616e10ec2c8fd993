"""What is known about a simulator after it was measured: numbers with intervals, as JSON and as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.table import Table

from tau0.evaluate.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class FutureCard:
    """`1 - error / error of copying the current frame`, both summed over windows: 0 is no better than copying, 1 is perfect.

    Attributes:
        everywhere: All windows, all cells.
        moving: All cells of moving windows: those whose last future frame differs from the current one by more than the median
            demonstration or branch window's does (mean squared latent change).
        on_what_moves: All windows, but of each only the quarter of its cells that changes most.
        by_kind: All cells, by kind of episode.
    """

    everywhere: Interval
    moving: Interval
    on_what_moves: Interval
    by_kind: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class ActionCard:
    """By which share the error grows when a window gets another one's actions, with the same noise. 0: actions do not matter.

    Attributes:
        swapped: All windows, actions of a random other one.
        moving: The same on moving windows.
        same_state: Branches, each with the actions of another branch from the same state; None without branches.
    """

    swapped: Interval
    moving: Interval
    same_state: Interval | None


@dataclass(frozen=True, kw_only=True)
class ProgressCard:
    """Whether predicted progress means anything.

    Attributes:
        auroc: That a demonstration's window reaches a higher maximum than a failure's; None where one of the two is missing.
        auroc_last: The same for the last step instead of the maximum.
        auroc_late: The same for windows that start in the second half of their episode: before, a failure often looks like a success.
        ranking: Mean over branch groups of the rank correlation between `J = max progress` and the label of the last step; None
            without groups whose labels differ.
        top: Share of these groups in which the branch with the highest J has the highest label.
        top_by_chance: What a random choice would reach.
        num_groups: Such groups.
    """

    auroc: Interval | None
    auroc_last: Interval | None
    auroc_late: Interval | None
    ranking: Interval | None
    top: Interval | None
    top_by_chance: float | None
    num_groups: int


@dataclass(frozen=True, kw_only=True)
class SimulatorCard:
    """The measurement of one checkpoint. Intervals are 95%, from resampling held-out episodes, each with its branches.

    Attributes:
        fingerprint: Of the checkpoint.
        num_windows: By kind of episode.
        num_moving: Moving windows.
        num_episodes: Held-out episodes that windows come from, a demonstration and its branches counting as one.
        future: Of the sampler that ranks candidates.
        picture: Of the many-step sampler; None where it was not measured.
        actions: Sensitivity to actions.
        progress: Of predicted progress.
    """

    fingerprint: str
    num_windows: dict[str, int]
    num_moving: int
    num_episodes: int
    future: FutureCard
    picture: FutureCard | None
    actions: ActionCard
    progress: ProgressCard

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def simulator_table(card: SimulatorCard, title: str | None = None) -> Table:
    """The card for a terminal, with what is wanted of a shipped checkpoint beside what was found."""
    table = Table(title=title, caption=_caption(card))
    for name, justify in (("measure", "left"), ("found", "right"), ("95% interval", "right"), ("wanted", "right")):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for name, interval, is_share, wanted in _rows(card):
        if interval is None:
            table.add_row(name, "–", "–", wanted)
            continue
        found, low, high = (f"{x:.0%}" if is_share else f"{x:.2f}" for x in (interval.estimate, interval.low, interval.high))
        table.add_row(name, found, f"{low} to {high}", wanted)
    return table


def _rows(card: SimulatorCard) -> list[tuple[str, Interval | None, bool, str]]:
    """Name, value, whether it is a share, and what is wanted."""
    future, actions, progress = card.future, card.actions, card.progress
    rows: list[tuple[str, Interval | None, bool, str]] = [
        ("future latents below copying, moving windows", future.moving, True, "≥ 30%"),
        ("… all windows", future.everywhere, True, ""),
        ("… on what moves", future.on_what_moves, True, ""),
        *((f"… {kind} windows", interval, True, "") for kind, interval in future.by_kind.items()),
    ]
    if card.picture is not None:
        rows.append(("… moving windows, many-step sampler", card.picture.moving, True, ""))
    return [
        *rows,
        ("error added by swapping actions", actions.swapped, True, "≥ 25%"),
        ("… moving windows", actions.moving, True, ""),
        ("… between branches of one state", actions.same_state, True, ""),
        ("AUROC of progress, success against failure", progress.auroc, False, "≥ 0.8"),
        ("… by the last step", progress.auroc_last, False, ""),
        ("… in the second half of episodes", progress.auroc_late, False, ""),
        ("rank correlation within one state", progress.ranking, False, ""),
        ("best of one state found", progress.top, True, "" if progress.top_by_chance is None else f"chance {progress.top_by_chance:.0%}"),
    ]


def _caption(card: SimulatorCard) -> str:
    counts = ", ".join(f"{number} {kind}" for kind, number in card.num_windows.items() if number)
    return (
        f"Held-out windows: {counts}; {card.num_moving} of them move. Intervals resample {card.num_episodes} episodes, "
        f"each with its branches. {card.progress.num_groups} states had branches that ended differently."
    )
