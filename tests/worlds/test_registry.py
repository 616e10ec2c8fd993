"""Suites name tasks that exist, the groups of MT50 are those that are published, and one collection has one robot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tau0.collect.run import CollectConfig
from tau0.collect.units import CollectError
from tau0.worlds import metaworld, two_arm
from tau0.worlds.instructions import UnknownTaskError, held_out_instructions, train_instructions
from tau0.worlds.registry import GROUPS, ROBOTS, SUITES, MixedRobotsError, embodiment_of, make_world


def test_every_task_of_every_suite_has_words_and_a_robot() -> None:
    for tasks in SUITES.values():
        assert len(set(tasks)) == len(tasks)
        assert embodiment_of(tasks) in (metaworld.EMBODIMENT, two_arm.EMBODIMENT)
        for task in tasks:
            assert len(train_instructions(task)) >= 3
            assert len(held_out_instructions(task)) == 2


def test_the_groups_of_mt50_are_the_whole_and_do_not_overlap() -> None:
    groups = [SUITES[f"mt50-{name}"] for name in ("easy", "medium", "hard", "very-hard")]
    assert list(GROUPS.values()) == groups
    assert [len(group) for group in groups] == [28, 11, 6, 5]
    assert sorted(task for group in groups for task in group) == sorted(SUITES["mt50"])
    assert {"reach-v3", "peg-unplug-side-v3", "lever-pull-v3"} <= set(groups[0])


def test_the_held_out_tasks_are_those_of_the_simulator() -> None:
    from tau0.worlds.rendering import load_mujoco

    load_mujoco()
    from metaworld.env_dict import ML45_V3

    assert set(SUITES["ml45-test"]) == set(ML45_V3["test"])
    assert set(SUITES["ml45-train"]) == set(ML45_V3["train"])


def test_recordings_name_their_robot() -> None:
    assert {name: robot.name for name, robot in ROBOTS.items()} == {name: name for name in ("metaworld-sawyer", "robosuite-two-panda")}


def test_an_unknown_task_of_two_arms_gets_a_suggestion() -> None:
    with pytest.raises(UnknownTaskError, match=r"did you mean .*two-arm-lift"):
        make_world("two-arms-lift")


def test_two_robots_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(MixedRobotsError, match=r"reach-v3 is a task of metaworld-sawyer and two-arm-lift of robosuite-two-panda"):
        embodiment_of(["reach-v3", "two-arm-lift"])
    with pytest.raises(CollectError, match="collect them into two folders"):
        CollectConfig(root=tmp_path, tasks=("reach-v3", "two-arm-lift"))
    with pytest.raises(MixedRobotsError, match="at least one task"):
        embodiment_of([])
