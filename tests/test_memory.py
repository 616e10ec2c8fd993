from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau0.memory import Memory, memory_indices


def test_memory_is_spread_evenly_over_the_past() -> None:
    assert memory_indices(30, 3).tolist() == [0, 10, 20]
    assert memory_indices(np.array([0, 1, 2, 4]), 3).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 2]]


@given(st.integers(0, 500), st.integers(0, 8))
def test_memory_lies_in_the_past_and_starts_at_the_first_frame(t: int, num_memory: int) -> None:
    steps = memory_indices(t, num_memory).tolist()
    assert len(steps) == num_memory
    assert steps == sorted(steps)
    assert all(step < max(t, 1) for step in steps)
    assert steps[:1] in ([], [0])


@given(st.integers(0, 60), st.integers(1, 5))
def test_a_memory_of_every_step_recalls_exactly_the_indices(t: int, num_memory: int) -> None:
    memory: Memory[str] = Memory(num_memory)
    for step in range(t + 1):
        memory.record(step, f"frame {step}")
    assert memory.frames(t) == [f"frame {step}" for step in memory_indices(t, num_memory)]


@given(st.lists(st.integers(1, 12), max_size=12), st.integers(1, 5))
def test_steps_that_were_not_observed_are_replaced_by_the_nearest_earlier_than_now(gaps: list[int], num_memory: int) -> None:
    memory: Memory[int] = Memory(num_memory)
    observed = np.cumsum([0, *gaps]).tolist()
    for step in observed:
        memory.record(step, step)
    now = observed[-1]
    past = observed[:-1] or [0]
    expected = [min(past, key=lambda step: (abs(step - wanted), step)) for wanted in memory_indices(now, num_memory).tolist()]
    assert memory.steps(now) == expected


def test_the_first_frame_is_repeated_while_there_is_no_history() -> None:
    memory: Memory[str] = Memory(3)
    memory.record(0, "first")
    assert memory.frames(0) == ["first"] * 3


def test_reset_forgets_everything() -> None:
    memory: Memory[str] = Memory(3)
    memory.record(0, "old episode")
    memory.record(8, "old episode")
    memory.reset()
    assert len(memory) == 0
    with pytest.raises(ValueError, match="nothing is recorded up to step 0"):
        memory.frames(0)
    memory.record(0, "new episode")
    assert memory.frames(0) == ["new episode"] * 3


def test_a_forgotten_reset_is_noticed() -> None:
    memory: Memory[str] = Memory(3)
    memory.record(8, "late")
    with pytest.raises(ValueError, match=r"call reset\(\)"):
        memory.record(0, "early")


def test_recording_a_step_again_keeps_the_later_frame() -> None:
    memory: Memory[str] = Memory(1)
    memory.record(0, "before")
    memory.record(0, "after")
    assert memory.frames(0) == ["after"]


def test_negative_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="steps count from 0"):
        memory_indices(-1, 3)
    with pytest.raises(ValueError, match="num_memory"):
        memory_indices(1, -3)


@given(st.integers(1, 400), st.integers(1, 4), st.integers(4, 40))
def test_a_long_episode_is_remembered_in_little_room(t: int, num_memory: int, capacity: int) -> None:
    memory: Memory[int] = Memory(num_memory, capacity)
    for step in range(t + 1):
        memory.record(step, step)
        assert len(memory) <= capacity
    wanted = memory_indices(t, num_memory)
    gap = 0 if t < capacity else 2 * (t + 1) / capacity
    assert np.abs(np.array(memory.frames(t)) - wanted).max() <= gap
    assert memory.frames(t)[0] == 0
