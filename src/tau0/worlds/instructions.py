"""What each task is called in words: one main instruction and paraphrases, of which the last two are never trained on."""

from __future__ import annotations

from difflib import get_close_matches

HELD_OUT = 2

INSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "reach-v3": (
        "reach the red ball with the gripper",
        "move the gripper to the red ball",
        "bring the hand to the red sphere",
        "go to the floating red target",
        "touch the red ball with the fingertips",
        "steer the arm until the gripper is at the red sphere",
        "put the end effector where the red ball hovers",
    ),
    "push-v3": (
        "push the cylinder to the green ball",
        "slide the red cylinder onto the green target",
        "move the small cylinder along the table to the green sphere",
        "shove the puck over to the green spot",
        "take the cylinder across the table to the green ball",
        "get the red puck to where the green sphere is",
        "nudge the cylinder until it meets the green marker",
    ),
    "pick-place-v3": (
        "pick up the cylinder and bring it to the blue ball",
        "grasp the red cylinder and hold it at the blue target",
        "lift the cylinder to the blue sphere",
        "take the puck off the table and place it at the blue ball",
        "grab the small cylinder and carry it to the blue marker",
        "raise the red puck to where the blue sphere floats",
        "fetch the cylinder and put it at the blue spot",
    ),
    "button-press-topdown-v3": (
        "press the red button down from above",
        "push down the button on top of the box",
        "press the button on the yellow box",
        "lower the gripper onto the red button and press it",
        "hit the red button from the top",
        "bring the hand over the box and push its button in",
        "click the big red knob by moving down on it",
    ),
    "drawer-open-v3": (
        "open the green drawer",
        "pull the drawer open by its handle",
        "hook the white handle and pull the drawer out",
        "slide the drawer out towards the robot",
        "grab the handle and open the drawer",
        "draw the green box's tray all the way out",
        "get the drawer to come out by tugging its handle",
    ),
}


class UnknownTaskError(ValueError):
    """A task that no world has. The message suggests the nearest names."""


def check_task(task: str) -> str:
    """Returns `task` when it exists.

    Raises:
        UnknownTaskError: It does not; the message says what was probably meant.
    """
    if task in INSTRUCTIONS:
        return task
    near = get_close_matches(task, INSTRUCTIONS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "try reach-v3, push-v3 or pick-place-v3"
    raise UnknownTaskError(f"unknown task {task!r}: {hint} ({len(INSTRUCTIONS)} tasks exist)")


def train_instructions(task: str) -> tuple[str, ...]:
    """The wordings that training may see, the main one first."""
    return INSTRUCTIONS[check_task(task)][:-HELD_OUT]


def held_out_instructions(task: str) -> tuple[str, ...]:
    """The wordings that training never sees, to measure whether language generalises."""
    return INSTRUCTIONS[check_task(task)][-HELD_OUT:]
