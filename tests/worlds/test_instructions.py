"""Every task has words of its own, and the last two of each are kept from training."""

import pytest

from tau0.worlds.instructions import UnknownTaskError, check_task, held_out_instructions, train_instructions
from tau0.worlds.metaworld import DEMO_SUITE, MT50
from tau0.worlds.wordings import INSTRUCTIONS


def test_fifty_tasks_with_at_least_five_wordings_each() -> None:
    assert len(MT50) == 50
    assert all(len(words) >= 5 for words in INSTRUCTIONS.values())
    assert set(DEMO_SUITE) <= set(MT50)


def test_no_wording_is_used_twice() -> None:
    words = [word for task in INSTRUCTIONS.values() for word in task]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("task", MT50)
def test_training_and_held_out_wordings_are_disjoint_and_complete(task: str) -> None:
    train, held_out = train_instructions(task), held_out_instructions(task)
    assert len(held_out) == 2
    assert train + held_out == INSTRUCTIONS[task]


def test_names_are_those_of_the_simulator() -> None:
    from tau0.worlds.rendering import load_mujoco

    load_mujoco()
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert set(MT50) == set(ALL_V3_ENVIRONMENTS)


def test_an_unknown_task_gets_a_suggestion() -> None:
    with pytest.raises(UnknownTaskError, match=r"unknown task 'pick-and-place-v3': did you mean .*pick-place-v3"):
        check_task("pick-and-place-v3")


def test_a_hopeless_name_gets_examples() -> None:
    with pytest.raises(UnknownTaskError, match="try reach-v3"):
        check_task("zzz")
