"""From chunks that come late to one action a control step."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.contract import ActionChunk, ContractError
from tau0.plan.executor import KINDS, ChunkExecutor, ExecutorConfig

HORIZON, EVERY = 12, 4
CONFIG = ExecutorConfig(kind="rtc", action_horizon=HORIZON, query_every=EVERY)


def chunk_from(step: int, length: int = HORIZON) -> ActionChunk:
    """The action for control step t is t itself, so that what is executed says where it came from."""
    return ActionChunk(actions=np.arange(step, step + length, dtype=np.float32)[:, None], control_hz=10.0)


def drive(kind: Any, delay: int, steps: int, length: int = HORIZON) -> tuple[list[float | None], list[tuple[int, int, int]]]:
    """What is done in each control step, and of each query when it began, how much was committed and frozen."""
    executor, done, asked, answer = ChunkExecutor(replace(CONFIG, kind=kind), 1), [], [], 0
    for step in range(steps):
        if executor.is_waiting and step == answer + delay:
            executor.answer(chunk_from(answer, EVERY if kind == "naive" else length), step)
        if executor.should_ask:
            committed = executor.ask(step)
            asked.append((step, -1, -1) if committed is None else (step, len(committed.actions), committed.num_frozen))
            answer = step
            if delay == 0:
                executor.answer(chunk_from(answer, EVERY if kind == "naive" else length), step)
        action = executor.next()
        done.append(None if action is None else float(action[0]))
    return done, asked


@pytest.mark.parametrize("kind", KINDS)
def test_without_delay_nobody_waits(kind: Any) -> None:
    done, asked = drive(kind, 0, 40)
    assert done == [float(step) for step in range(40)]
    assert [step for step, _, _ in asked] == list(range(0, 40, 1 if kind == "ensemble" else EVERY))


def test_naive_stands_still_while_it_waits() -> None:
    done, asked = drive("naive", 3, 14)
    assert done == [None, None, None, 0, 1, 2, 3, None, None, None, 7, 8, 9, 10]
    assert asked == [(0, -1, -1), (7, -1, -1)]


@pytest.mark.parametrize("kind", ["async", "rtc", "ensemble"])
@pytest.mark.parametrize("delay", [1, 4, 6])
def test_late_chunks_are_entered_where_the_robot_is_by_then(kind: Any, delay: int) -> None:
    done, _ = drive(kind, delay, 60)
    assert done[:delay] == [None] * delay
    late = [value - step for step, value in enumerate(done) if value is not None]
    assert None not in done[delay:]
    assert max(late) == 0
    assert min(late) == -delay
    assert len(set(late[HORIZON:])) == 1


def test_real_time_chunking_commits_what_it_will_do() -> None:
    _, asked = drive("rtc", 3, 30)
    assert asked[0] == (0, 0, 0)
    assert asked[1] == (4 + 3, HORIZON - 4, 3)
    assert drive("async", 3, 30)[1][1] == (7, 0, 0)


def test_a_delay_longer_than_a_chunk_makes_it_wait_but_never_run_dry() -> None:
    done, _ = drive("rtc", 20, 100)
    executed = [value for value in done if value is not None]
    moving = [value is not None for value in done]
    assert 0.2 < np.mean(moving) < 0.7
    assert len(executed) == 4 * (HORIZON - EVERY) - 8
    first_wait = done.index(None, 21)
    assert first_wait >= 20 + HORIZON - EVERY


def test_the_ensemble_averages_and_the_oldest_counts_most() -> None:
    executor = ChunkExecutor(replace(CONFIG, kind="ensemble", decay=0.5), 1)
    executor.ask(0)
    executor.answer(ActionChunk(actions=np.zeros((HORIZON, 1), np.float32), control_hz=10.0), 0)
    executor.next()
    executor.ask(1)
    executor.answer(ActionChunk(actions=np.ones((HORIZON, 1), np.float32), control_hz=10.0), 1)
    action = executor.next()
    assert action is not None
    assert action[0] == pytest.approx(np.exp(-0.5) / (1 + np.exp(-0.5)))
    assert executor.observed_at == 0


def test_measured_delays_are_remembered_and_the_longest_is_expected() -> None:
    executor = ChunkExecutor(replace(CONFIG, num_delays=2), 1)
    for begin, end in ((0, 3), (10, 15), (20, 21), (30, 31)):
        executor.ask(begin)
        executor.answer(chunk_from(begin), end)
        while executor.next() is not None:
            pass
    assert executor.delay_steps == 1
    executor.reset()
    assert executor.delay_steps == 1
    assert executor.next() is None


def test_a_query_that_fails_leaves_the_last_chunk() -> None:
    executor = ChunkExecutor(CONFIG, 1)
    executor.ask(0)
    executor.answer(chunk_from(0), 0)
    executor.next()
    executor.ask(1)
    executor.give_up()
    assert executor.next() == pytest.approx(1.0)
    assert not executor.is_waiting
    with pytest.raises(ContractError, match="nothing was asked"):
        executor.answer(chunk_from(0), 2)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS), st.lists(st.integers(0, 25), min_size=1, max_size=8), st.lists(st.integers(1, HORIZON), min_size=1, max_size=8)
)
def test_no_action_is_skipped_or_done_twice_but_for_the_delay(kind: Any, delays: list[int], lengths: list[int]) -> None:
    executor, due, asked_at, queries = ChunkExecutor(replace(CONFIG, kind=kind), 1), 0, 0, 0
    for step in range(120):
        if executor.should_ask:
            committed = executor.ask(step)
            due, asked_at, queries = step + delays[queries % len(delays)], step, queries + 1
            assert (committed is None) == (kind == "naive")
            if committed is not None:
                assert 0 <= committed.num_frozen <= len(committed.actions) <= HORIZON - EVERY
        if executor.is_waiting and step >= due:
            executor.answer(chunk_from(asked_at, lengths[queries % len(lengths)]), step)
        action, before = executor.next(), executor.observed_at
        assert action is None or action.shape == (1,)
        assert before is None or before <= step
    assert queries > 1


def test_settings_that_cannot_be_are_refused() -> None:
    for change, words in (({"kind": "rtcc"}, "expected one of"), ({"query_every": 13}, "query_every"), ({"decay": -1.0}, "decay")):
        with pytest.raises(ContractError, match=words):
            replace(CONFIG, **change)


def test_a_robot_needs_no_torch() -> None:
    code = "import sys, tau0.plan.executor; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
