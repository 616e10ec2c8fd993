"""The two-arm tasks in our own words: the main instruction first, the last two kept from training."""

from __future__ import annotations

TWO_ARM_INSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "two-arm-lift": (
        "lift the pot by both handles",
        "raise the red pot with both hands",
        "grasp the two handles and lift the pot level off the table",
        "take the pot by its green and blue handles and raise it",
        "pick up the square pot, one hand on each handle",
        "hoist the red box by its side grips without tilting it",
        "with both arms, bring the pot up from the table",
    ),
    "two-arm-handover": (
        "hand the hammer from the right hand to the left hand",
        "pick up the hammer with the right arm and pass it to the left arm",
        "give the hammer to the left gripper",
        "take the hammer off the table and hand it over by its handle",
        "pass the hammer across so that the left hand alone holds it",
        "transfer the hammer between the arms, right to left",
        "let the left arm take the hammer's handle from the right one",
    ),
}
