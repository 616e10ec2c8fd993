"""A simulator's report card for a terminal, with what is wanted of a shipped checkpoint beside what was found."""

from __future__ import annotations

from rich.table import Table

from tau0.evaluate.simulator_results import (
    ActionCard,
    HorizonCard,
    PhysicsCard,
    PictureCard,
    ProgressCard,
    RolloutCard,
    RolloutFrame,
    SimulatorCard,
)
from tau0.evaluate.statistics import Interval

Row = tuple[str, Interval | None, str, str]
"""Name, value, how a number of it is written, and what is wanted."""

_SHARE, _NUMBER, _SECONDS = "{:.0%}", "{:.2f}", "{:.2f} s"
PICTURE_COLUMNS = ("view and time", "measure", "imagined", "copied", "kept", "encoded", "better than copied by")
_WORDS = {"drawn": "random"}
_MEASURES = {"psnr_db": ("PSNR, dB", "{:.1f}"), "ssim": ("SSIM", "{:.3f}"), "perceptual": ("ST-LPIPS", "{:.3f}")}


def simulator_table(card: SimulatorCard, title: str | None = None) -> Table:
    """All but pictures and frames, which have tables of their own."""
    table = Table(title=title, caption=_caption(card))
    for name, justify in (("measure", "left"), ("found", "right"), ("95% interval", "right"), ("wanted", "right")):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for section in _sections(card):
        for row in section:
            table.add_row(*_written(row))
        table.add_section()
    return table


def simulator_markdown(card: SimulatorCard) -> str:
    """The same, and the pictures, as two tables of Markdown."""
    lines = ["| measure | found | 95% interval | wanted |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {' | '.join(_written(row))} |" for section in _sections(card) for row in section]
    lines += ["", _caption(card)]
    for pictures in (card.pictures, card.pictures_many_steps):
        if pictures is None:
            continue
        lines += ["", f"| {' | '.join(PICTURE_COLUMNS)} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
        lines += [f"| {' | '.join(row)} |" for _, rows in _picture_rows(pictures) for row in rows]
        lines += ["", _picture_caption(pictures)]
    return "\n".join(lines)


def _sections(card: SimulatorCard) -> tuple[list[Row], ...]:
    return _futures(card), _actions(card.actions), _progress(card.progress), _physics(card.physics), _rollouts(card.rollouts)


def _written(row: Row) -> tuple[str, str, str, str]:
    """Measure, value, interval and what is wanted, in words."""
    name, interval, style, wanted = row
    if interval is None:
        return name, "–", "–", wanted
    found, low, high = (style.format(x) for x in (interval.estimate, interval.low, interval.high))
    return name, found, f"{low} to {high}", wanted


def picture_table(card: PictureCard, title: str = "futures as pictures") -> Table:
    """PSNR, SSIM and perceptual distance, per view and per horizon."""
    table = Table(title=title, caption=_picture_caption(card))
    for name in PICTURE_COLUMNS:
        table.add_column(name, justify="left" if name in PICTURE_COLUMNS[:2] else "right")
    for _, rows in _picture_rows(card):
        for row in rows:
            table.add_row(*row)
        table.add_section()
    return table


def _picture_caption(card: PictureCard) -> str:
    return (
        f"{card.num_moving} moving windows of {card.num_windows}, against what the camera saw. copied: the current frame through the "
        "autoencoder; kept: as the camera saw it; encoded: the true future through the autoencoder, the best there can be. "
        f"{card.perceptual or 'No perceptual distance: the extra `report` is not installed.'}"
    )


def _picture_rows(card: PictureCard) -> list[tuple[str, list[list[str]]]]:
    """By view, one row a measure and horizon."""
    return [
        (view, [[f"{view} {h.seconds:.2f} s", *_picture_row(measure, h)] for measure, horizons in measures.items() for h in horizons])
        for view, measures in card.views.items()
    ]


def _picture_row(measure: str, horizon: HorizonCard) -> list[str]:
    name, style = _MEASURES[measure]
    kinds = (horizon.imagined, horizon.copied, horizon.kept, horizon.encoded)
    signed = style.replace(":", ":+z")
    gain, low, high = (signed.format(x) for x in (horizon.gain.estimate, horizon.gain.low, horizon.gain.high))
    return [name, *(style.format(kind.estimate) for kind in kinds), f"{gain} [{low}, {high}]"]


def _futures(card: SimulatorCard) -> list[Row]:
    future = card.future
    rows: list[Row] = [
        ("future latents below copying, moving windows", future.moving, _SHARE, "≥ 30%"),
        ("… all windows", future.everywhere, _SHARE, ""),
        ("… on what moves", future.on_what_moves, _SHARE, ""),
        *((f"… {kind} windows", interval, _SHARE, "") for kind, interval in future.by_kind.items()),
    ]
    return rows if card.picture is None else [*rows, ("… moving windows, many-step sampler", card.picture.moving, _SHARE, "")]


def _actions(actions: ActionCard) -> list[Row]:
    rows: list[Row] = [
        ("error added by swapping actions", actions.swapped, _SHARE, "≥ 25%"),
        ("… moving windows", actions.moving, _SHARE, ""),
        ("… between branches of one state", actions.same_state, _SHARE, ""),
        ("error added by negated actions, moving windows", actions.negated, _SHARE, "above 0"),
        ("… zeroed", actions.zeroed, _SHARE, "above 0"),
        ("… random", actions.drawn, _SHARE, "above 0"),
        *(
            (f"future changed by {_WORDS.get(name, name)} actions, of the true change", value, _SHARE, "above 0")
            for name, value in actions.change.items()
        ),
    ]
    if (way := actions.direction) is None:
        return rows
    return [
        *rows,
        (f"motion read from the real future ({', '.join(way.numbers)})", way.read_from_real, _NUMBER, ""),
        ("… from the imagined one", way.own, _NUMBER, "above 0"),
        ("… imagined with swapped actions, their owner's motion", way.swapped, _NUMBER, "above 0"),
        ("… imagined with negated actions", way.negated, _NUMBER, "below 0"),
        ("motion left when actions are zeroed", way.motion_when_zeroed, _SHARE, "near 0"),
    ]


def _progress(progress: ProgressCard) -> list[Row]:
    return [
        ("AUROC of progress, success against failure", progress.auroc, _NUMBER, "≥ 0.8"),
        ("… by the last step", progress.auroc_last, _NUMBER, ""),
        ("… in the second half of episodes", progress.auroc_late, _NUMBER, ""),
        ("rank correlation with true progress", progress.rank_all, _NUMBER, ""),
        ("… among successes", progress.rank_successes, _NUMBER, ""),
        ("… step by step within a window of a success", progress.within, _NUMBER, ""),
        ("range of progress within such a window", progress.range, _NUMBER, _wanted(progress.true_range, "true: {:.2f}")),
        ("… windows in which it is flat", progress.flat, _SHARE, "near 0"),
        ("error of calibration (progress runs from -1 to 1)", progress.calibration_error, _NUMBER, "near 0"),
        ("rank correlation with real physics, branches of one state", progress.ranking, _NUMBER, ""),
        ("… best of one state found", progress.top, _SHARE, _chance(progress.top_by_chance)),
    ]


def _physics(physics: PhysicsCard | None) -> list[Row]:
    if physics is None:
        return []
    return [
        ("policy's candidates ranked by progress as physics does", physics.progress, _SHARE, "chance 50%"),
        ("… by consistency", physics.score, _SHARE, "chance 50%"),
        ("… most promising one is the best", physics.top, _SHARE, _chance(physics.top_by_chance)),
    ]


def _rollouts(rollouts: RolloutCard | None) -> list[Row]:
    if rollouts is None:
        return []
    last = rollouts.frames[-1].seconds
    to_the_end = [f"not above within {last:.2f} s" * (not is_above) for is_above in (rollouts.is_broken, rollouts.is_late)]
    rows: list[Row] = [
        ("long rollouts: error above the first frame's after", rollouts.horizon_s, _SECONDS, to_the_end[0]),
        ("… above that of a camera late by one window after", rollouts.late_horizon_s, _SECONDS, to_the_end[1]),
        ("… share of recorded time before they break", rollouts.lasted, _SHARE, ""),
        ("… never broken", rollouts.unbroken, _SHARE, ""),
    ]
    some = _some(rollouts)
    rows += [(f"… below the first frame's at {f.seconds:.2f} s", f.gain, _SHARE, f"{f.num_rollouts} rollouts") for f in some]
    return [*rows, *((f"… below the late camera's at {f.seconds:.2f} s", f.gain_late, _SHARE, "") for f in some)]


def _some(rollouts: RolloutCard) -> list[RolloutFrame]:
    """At most five frames, evenly spread, the last one among them."""
    frames = rollouts.frames
    count = min(5, len(frames))
    return [frames[round((i + 1) * len(frames) / count) - 1] for i in range(count)]


def _wanted(interval: Interval | None, words: str) -> str:
    return "" if interval is None else words.format(interval.estimate)


def _chance(share: float | None) -> str:
    return "" if share is None else f"chance {share:.0%}"


def _caption(card: SimulatorCard) -> str:
    counts = ", ".join(f"{number} {kind}" for kind, number in card.num_windows.items() if number)
    said = (
        f"Held-out windows: {counts}; {card.num_moving} of them move. Intervals resample {card.num_episodes} episodes, "
        f"each with its branches. {card.progress.num_groups} states had branches that ended differently."
    )
    if card.rollouts is not None:
        said += f" {card.rollouts.num_rollouts} rollouts."
    if card.physics is not None:
        said += f" In physics, {card.physics.num_decided} of {card.physics.num_states} states had candidates that ended differently."
    return said
