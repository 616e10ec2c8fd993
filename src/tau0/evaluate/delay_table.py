"""Success and jerk where answers come late, executor by executor: each against the first one at the same delay, on the same episodes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from tau0.evaluate.points import points_text
from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.statistics import Interval, mcnemar_exact, paired_difference, wilson_interval


@dataclass(frozen=True, kw_only=True)
class DelaySummary:
    """One executor at one delay.

    Attributes:
        mode: The agent's mode, the executor and the delay, as in the records.
        success: Its rate, with Wilson's interval.
        episodes: How many.
        steps: Mean control steps of an episode, a failed one counting its limit.
        jerk: Mean over episodes of their RMS jerk, units of the state a second cubed, with a bootstrap interval clustered by task.
        held: Share of control steps in which the robot was told to hold still.
        trips: Safety limits met in all episodes.
        gain: In success over the first executor at this delay, with a bootstrap interval clustered by task; None for the first itself.
        p_value: Of McNemar's exact test of that.
        smoothing: Mean of the logarithm of the ratio of jerks to the first executor's, as a ratio, with its interval.
    """

    mode: str
    success: Interval
    episodes: int
    steps: float
    jerk: Interval
    held: float
    trips: int
    gain: Interval | None = None
    p_value: float | None = None
    smoothing: Interval | None = None


def summarize_delays(records: Sequence[EpisodeRecord], seed: int = 0) -> list[DelaySummary]:
    """A summary for each executor and delay, by delay, and then in the order of the records.

    Args:
        records: Of a world that does not wait.
        seed: Of the bootstrap.

    Raises:
        ValueError: A record is of a world that waits.
    """
    groups: dict[str, dict[tuple[str, int, str | None], EpisodeRecord]] = {}
    for record in records:
        if record.result.jerk is None:
            raise ValueError(f"episode {record.result.task} {record.result.seed} of {record.result.mode!r} has no jerk: its world waited")
        result = record.result
        groups.setdefault(result.mode, {})[result.task, result.seed, record.requested_instruction] = record
    summaries, first = [], {}
    for mode, own in sorted(groups.items(), key=lambda group: _delay_ms(group[0])):
        reference = first.setdefault(_delay_ms(mode), own)
        summaries.append(_summary(mode, own, reference, np.random.default_rng(seed)))
    return summaries


def _delay_ms(mode: str) -> float:
    """Of "single rtc 200 ms"."""
    return float(mode.split(" ")[-2])


_Records = dict[tuple[str, int, str | None], EpisodeRecord]


def _summary(mode: str, own: _Records, reference: _Records, rng: np.random.Generator) -> DelaySummary:
    results = [record.result for record in own.values()]
    tasks = [result.task for result in results]
    zeros, jerks = [0.0] * len(results), [result.jerk or 0.0 for result in results]
    plain = DelaySummary(
        mode=mode,
        success=wilson_interval(sum(result.success for result in results), len(results)),
        episodes=len(results),
        steps=statistics.fmean(result.steps for result in results),
        jerk=paired_difference(zeros, jerks, tasks, rng),
        held=sum(result.held for result in results) / sum(result.steps for result in results),
        trips=sum(result.trips for result in results),
    )
    pairs = [(reference[key].result, record.result) for key, record in own.items() if key in reference]
    if own is reference or not pairs:
        return plain
    before, after = zip(*pairs, strict=True)
    shared = [result.task for result in after]
    gain = paired_difference([r.success for r in before], [r.success for r in after], shared, rng)
    lost, gained = (sum(a.success and not b.success for a, b in zip(*sides, strict=True)) for sides in ((before, after), (after, before)))
    first_jerk, own_jerk = (np.log([max(r.jerk or 0.0, 1e-12) for r in side]) for side in (before, after))
    ratio = paired_difference(first_jerk, own_jerk, shared, rng)
    values = vars(plain) | {
        "gain": gain,
        "p_value": mcnemar_exact(lost, gained),
        "smoothing": Interval(estimate=float(np.exp(ratio.estimate)), low=float(np.exp(ratio.low)), high=float(np.exp(ratio.high))),
    }
    return DelaySummary(**values)


def delay_table(summaries: Sequence[DelaySummary]) -> Table:
    """The table for a terminal."""
    table = Table(title="a world that does not wait", caption=_CAPTION)
    for index, name in enumerate(_HEADER):
        table.add_column(name, justify="left" if index == 0 else "right")
    for index, summary in enumerate(summaries):
        following = summaries[index + 1] if index + 1 < len(summaries) else None
        table.add_row(*_cells(summary), end_section=following is not None and following.gain is None)
    return table


def delay_markdown(summaries: Sequence[DelaySummary]) -> str:
    """The same table for a document."""
    rows = [_HEADER, ("---", *["---:"] * (len(_HEADER) - 1)), *[_cells(summary) for summary in summaries]]
    return "\n".join([*["| " + " | ".join(row) + " |" for row in rows], "", _CAPTION, ""])


_HEADER = ("executor", "success", "against the first", "steps", "RMS jerk", "ratio to the first", "holding", "trips")
_CAPTION = (
    "Intervals are 95%: Wilson's for rates, a bootstrap clustered by task for the rest; p is McNemar's exact test. "
    "Jerk is in units of the state a second cubed, of the robot's measured motion."
)


def _cells(summary: DelaySummary) -> tuple[str, ...]:
    rate, jerk, gain, ratio = summary.success, summary.jerk, summary.gain, summary.smoothing
    against, smoothing = "–", "–"
    if gain is not None and ratio is not None:
        against = f"{points_text(gain)}, p = {summary.p_value:.3f}"
        smoothing = f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
    return (
        summary.mode,
        f"{rate.estimate:.0%} [{rate.low:.0%}, {rate.high:.0%}] of {summary.episodes}",
        against,
        f"{summary.steps:.0f}",
        f"{jerk.estimate:.3g} [{jerk.low:.3g}, {jerk.high:.3g}]",
        smoothing,
        f"{summary.held:.0%}",
        str(summary.trips),
    )
