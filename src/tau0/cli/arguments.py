"""What was asked for on the command line, checked before anything long begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import inf, isnan

MODES = ("single", "random", "medoid", "rcs", "progress", "unrevised", "full")
"""The planner's modes, named here so that help needs no torch. A test keeps them equal to the planner's."""

ORACLES = ("oracle", "oracle-gated")
"""Modes that try candidates in the world's own physics, which only an evaluation can do. A test keeps them equal to the evaluation's."""

USUAL_MODES = ("single", "rcs", "full")
"""What is compared unless something else is asked for."""

EXECUTORS = ("naive", "async", "rtc", "ensemble")
"""Ways to execute chunks that come late, named here so that help needs no torch. A test keeps them equal to the executor's."""

SCORE_ERRORS = ("absolute", "relative")
"""Kinds of error of the consistency score, likewise."""

NUM_EVALUATION_SEEDS = 1_000_000
"""Evaluation uses seeds below this, collecting uses seeds from here on: no model is tested on what it was shown."""

FRAME_EVERY = 4
"""Control steps between two frames of real video in a trace. Imagined frames are 8 and 16 steps ahead, so that both meet a real one."""


class UsageError(ValueError):
    """Something was asked for that cannot be had. The message says what can."""


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Returns `name` when it is one of the choices.

    Raises:
        UsageError: It is not; the message says what was probably meant.
    """
    known = list(choices)
    if name in known:
        return name
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"unknown {kind} {name!r}{hint} (there are {', '.join(known)})")


def choose_modes(names: Sequence[str]) -> tuple[str, ...]:
    """Modes to evaluate, none of them twice. Raises `UsageError` otherwise."""
    modes = tuple(choose("mode", name, (*MODES, *ORACLES)) for name in names)
    if not modes or len(set(modes)) < len(modes):
        raise UsageError(f"give at least one mode and none twice, got {' '.join(modes) or 'none'}")
    return modes


def choose_tasks(suite: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """The given tasks, or where none is given, those of the suite.

    Raises:
        UsageError: Unknown suite, or a task given twice.
        UnknownTaskError: Unknown task.
    """
    from tau0.worlds.instructions import check_task
    from tau0.worlds.registry import SUITES

    if not tasks:
        return SUITES[choose("suite", suite, SUITES)]
    if len(set(tasks)) < len(tasks):
        raise UsageError(f"a task is given twice: {' '.join(tasks)}")
    return tuple(check_task(task) for task in tasks)


def choose_seeds(first: int, count: int) -> range:
    """`count` seeds from `first` on. Raises `UsageError` when there is none, or one that collecting may have used."""
    if first < 0 or count < 1 or first + count > NUM_EVALUATION_SEEDS:
        raise UsageError(f"seeds of evaluation run from 0 to {NUM_EVALUATION_SEEDS - 1:,}; got {count} from {first} on")
    return range(first, first + count)


def at_least(limit: float, **values: float | None) -> None:
    """Raises `UsageError` naming the first value that is below `limit`. None passes."""
    for name, value in values.items():
        if value is not None and not value >= limit:
            raise UsageError(f"--{name.replace('_', '-')} is {value:g}, it must be at least {limit:g}")


def check_search(
    noise_scale: float, score_sigmas: Sequence[float], score_noises: int | None, score_error: str | None, still_below: float
) -> None:
    """Raises `UsageError` naming the first setting of drawing and comparing plans that cannot be."""
    if not 0 < noise_scale < inf:
        raise UsageError(f"--noise-scale is {noise_scale:g}, it must be above 0")
    check_score(score_sigmas, score_noises, score_error)
    if not 0 <= still_below <= 1:
        raise UsageError(f"--still-below is {still_below:g}, it must lie between 0 and 1")


def check_score(score_sigmas: Sequence[float], score_noises: int | None, score_error: str | None) -> None:
    """Raises `UsageError` naming the first setting of the consistency score that cannot be."""
    if wrong := [sigma for sigma in score_sigmas if not 0 < sigma <= 1]:
        raise UsageError(f"--score-sigmas holds {wrong[0]:g}, levels lie above 0 and are at most 1")
    at_least(1, score_noises=score_noises)
    if score_error is not None:
        choose("score-error", score_error, SCORE_ERRORS)


def check_delays(delay_ms: Sequence[float], executors: Sequence[str], rate_hz: float | None) -> None:
    """Raises `UsageError` for times and rates that cannot be, and unknown executors."""
    if wrong := [late for late in delay_ms if not 0 <= late < inf]:
        raise UsageError(f"--delay-ms holds {wrong[0]:g}, it must be a number of milliseconds of at least 0")
    if rate_hz is not None and not 0 < rate_hz < inf:
        raise UsageError(f"--rate-hz is {rate_hz:g}, it must be above 0")
    for name in executors:
        choose("executor", name, EXECUTORS)
    for name, given in (("executors", executors), ("delay-ms", delay_ms)):
        if not given or len(set(given)) < len(given):
            raise UsageError(f"--{name} needs one value at least, and none twice; got {' '.join(map(str, given)) or 'none'}")


def check_guidance(guidance: float | None) -> None:
    """Raises `UsageError` for a strength of real-time chunking that no server takes. None passes."""
    from tau0.serve.protocol import MAX_GUIDANCE

    if guidance is not None and not 0 <= guidance <= MAX_GUIDANCE:
        raise UsageError(f"--guidance is {guidance:g}, it must lie between 0 and {MAX_GUIDANCE:g}")


def check_planning(gate_threshold: float | None, budget_ms: float | None) -> None:
    """Raises `UsageError` for a threshold that nothing can be compared with, or a time that cannot pass."""
    if gate_threshold is not None and isnan(gate_threshold):
        raise UsageError("--gate-threshold is nan, it must be a number, or -inf to never simulate, or inf to always do")
    if budget_ms is not None and not 0 <= budget_ms < inf:
        raise UsageError(f"--budget-ms is {budget_ms:g}, it must be a number of milliseconds of at least 0")
