"""Limits that come with a world let its own expert pass."""

from __future__ import annotations

import numpy as np
import pytest

from tau0.serve.safety import SafetyFilter
from tau0.worlds.registry import limits_of, make_world


@pytest.mark.parametrize("task", ["reach-v3", "drawer-open-v3"])
def test_the_expert_solves_its_task_behind_the_filter_and_meets_no_limit(task: str) -> None:
    world = make_world(task, 120)
    try:
        world.reset(1)
        guard = SafetyFilter(world.embodiment, limits_of(world.embodiment))
        for step in range(120):
            wanted = world.expert_action()
            verdict = guard.check(wanted, world.state(), step / world.embodiment.control_hz)
            assert verdict.command is not None
            assert np.array_equal(verdict.command.astype(np.float32), wanted)
            if world.step(verdict.command.astype(np.float32)):
                break
        else:
            pytest.fail(f"{task} was not solved")
        assert sum(guard.counts.values()) == 0
    finally:
        world.close()
