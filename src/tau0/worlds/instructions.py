"""What each task is called in words: one main instruction and paraphrases, of which the last two are never trained on."""

from __future__ import annotations

from difflib import get_close_matches

from tau0.worlds.two_arm_wordings import TWO_ARM_INSTRUCTIONS
from tau0.worlds.wordings import INSTRUCTIONS

HELD_OUT = 2
ALL_INSTRUCTIONS = {**INSTRUCTIONS, **TWO_ARM_INSTRUCTIONS}


class UnknownTaskError(ValueError):
    """A task that no world has. The message suggests the nearest names."""


def check_task(task: str) -> str:
    """Returns `task` when it exists.

    Raises:
        UnknownTaskError: It does not; the message says what was probably meant.
    """
    if task in ALL_INSTRUCTIONS:
        return task
    near = get_close_matches(task, ALL_INSTRUCTIONS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "try reach-v3, push-v3 or pick-place-v3"
    raise UnknownTaskError(f"unknown task {task!r}: {hint} ({len(ALL_INSTRUCTIONS)} tasks exist)")


def train_instructions(task: str) -> tuple[str, ...]:
    """The wordings that training may see, the main one first."""
    return ALL_INSTRUCTIONS[check_task(task)][:-HELD_OUT]


def held_out_instructions(task: str) -> tuple[str, ...]:
    """The wordings that training never sees, to measure whether language generalises."""
    return ALL_INSTRUCTIONS[check_task(task)][-HELD_OUT:]
