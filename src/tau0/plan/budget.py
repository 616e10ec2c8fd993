"""Time: what each stage of a query took, and how much of the next one still fits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MIN_SIMULATOR_STEPS = 2
"""Fewest denoising steps of a future: the first leaves noise for the mean of all futures, only the second can tell chunks apart."""


class Stopwatch:
    """Time of one query, in all and by stage, in milliseconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Starts. The clock gives seconds."""
        self._clock = clock
        self._started = clock()
        self.milliseconds: dict[str, float] = {}

    @property
    def elapsed_ms(self) -> float:
        """Since the query began."""
        return 1000 * (self._clock() - self._started)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Records the time spent inside."""
        before = self.elapsed_ms
        yield
        self.milliseconds[name] = self.elapsed_ms - before


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Milliseconds of a stage for n candidates and s solver steps: `fixed + s (step + each n)`."""

    fixed_ms: float = 0.0
    step_ms: float = 0.0
    each_ms: float = 0.0

    def of(self, num_candidates: int, num_steps: int = 1) -> float:
        """What that many candidates and steps are expected to take."""
        return self.fixed_ms + num_steps * (self.step_ms + self.each_ms * num_candidates)

    @classmethod
    def fitted(cls, one: float, one_step: float, many: float, num_candidates: int, num_steps: int) -> StageCost:
        """From three measurements in milliseconds: one candidate, one candidate in one step, and many candidates."""
        a_step = max(0.0, (one - one_step) / (num_steps - 1)) if num_steps > 1 else one
        each = max(0.0, (many - one) / (num_steps * (num_candidates - 1))) if num_candidates > 1 else 0.0
        return cls(fixed_ms=max(0.0, one - num_steps * a_step), step_ms=max(0.0, a_step - each), each_ms=each)


@dataclass(frozen=True, kw_only=True)
class Timings:
    """What the stages take on this machine, and how many solver steps are usual.

    Attributes:
        propose: Trunk and action expert.
        score: Consistency of candidates; one step.
        simulate: Futures.
        action_steps: Of the action expert.
        simulator_steps: Of a future.
    """

    propose: StageCost
    score: StageCost
    simulate: StageCost
    action_steps: int
    simulator_steps: int


class Allowance:
    """How much of each stage one query can afford. What is left out is written down in `skipped`.

    Stages are served in their order, each with what the ones before have left: candidates, their scores, futures of the most consistent,
    a revision. So there is an answer from the first stage on, and every later stage only begins when it is expected to end in time.
    A machine that is slower now than when it was measured shows in the stages that have run; the rest is expected to be as much slower.
    """

    def __init__(self, limit_ms: float | None, timings: Timings | None, watch: Stopwatch) -> None:
        """For a query that `watch` has timed from its beginning. Without a limit everything is allowed, whatever the machine's speed."""
        self.skipped: list[str] = []
        self._limit_ms, self._timings, self._watch = limit_ms, timings, watch
        self._expected_ms: dict[str, float] = {}

    def proposals(self, most: int, has_scores: bool) -> tuple[int, int | None]:
        """(candidates, at least 1; solver steps, None for the usual number). Scores, where wanted, are counted in."""
        timings = self._timings
        if self._limit_ms is None or timings is None:
            return most, None
        usual = timings.action_steps
        counts = [n for n in range(most, 0, -1) if self._fits(self._round_ms(n, has_scores))]
        if counts:
            num, steps = counts[0], usual
        else:
            num, steps = 1, next((s for s in range(usual, 1, -1) if self._fits(timings.propose.of(1, s))), 1)
        self._expected_ms["propose"] = timings.propose.of(num, steps)
        self._less("candidates", num, most)
        self._less("solver steps of the candidates", steps, usual)
        return num, None if steps == usual else steps

    def has_time_to_score(self, num: int) -> bool:
        """Whether the scores of `num` candidates are expected in time."""
        if self._timings is None or self._fits(self._timings.score.of(num)):
            return True
        self.skipped.append("scores")
        return False

    def simulations(self, num: int) -> tuple[int, int | None]:
        """(futures, none or at least two where there are two candidates; solver steps, None for the usual number)."""
        timings, fewest = self._timings, min(2, num)
        if self._limit_ms is None or timings is None:
            return num, None
        usual = timings.simulator_steps
        settings = [(n, usual) for n in range(num, fewest - 1, -1)] + [(fewest, s) for s in range(usual - 1, MIN_SIMULATOR_STEPS - 1, -1)]
        count, steps = next(((n, s) for n, s in settings if self._fits(timings.simulate.of(n, s))), (0, usual))
        if count:
            self._expected_ms["simulate"] = timings.simulate.of(count, steps)
        self._less("futures", count, num)
        self._less("solver steps of the futures", steps, usual)
        return count, None if steps == usual else steps

    def revisions(self, most: int, steps: int | None, futures_of: Callable[[int], int]) -> int:
        """Candidates of a second round; 0 for no revision.

        Args:
            most: Wanted.
            steps: Solver steps of a future, as in the first round; None for the usual number.
            futures_of: From candidates, all of which are scored, to how many of them are imagined.
        """
        timings = self._timings
        if self._limit_ms is None or timings is None:
            return most
        steps = steps or timings.simulator_steps
        costs = ((n, self._round_ms(n, True) + timings.simulate.of(futures_of(n), steps)) for n in range(most, 0, -1))
        count = next((n for n, expected_ms in costs if self._fits(expected_ms)), 0)
        self._less("revised candidates", count, most)
        return count

    def _round_ms(self, num: int, has_scores: bool) -> float:
        assert self._timings is not None
        return self._timings.propose.of(num, self._timings.action_steps) + (self._timings.score.of(num) if has_scores else 0.0)

    def _fits(self, expected_ms: float) -> bool:
        return self._limit_ms is None or self._watch.elapsed_ms + self._slowdown * expected_ms <= self._limit_ms

    @property
    def _slowdown(self) -> float:
        """How many times longer than measured the stages of this query have taken, at least 1."""
        taken = self._watch.milliseconds
        return max([1.0, *(taken[name] / expected for name, expected in self._expected_ms.items() if name in taken and expected > 0)])

    def _less(self, what: str, done: int, wanted: int) -> None:
        if done < wanted:
            self.skipped.append(f"{what}: {done} of {wanted}")
