"""Differences of two shares as text, in percentage points."""

from __future__ import annotations

from tau0.evaluate.statistics import Interval


def points(share: float) -> str:
    """With its sign, such as "+4.0" of 0.04; nothing, however small the minus before it, is "+0.0"."""
    return f"{100 * share:+z.1f}"


def points_text(difference: Interval) -> str:
    """Such as "+4.0 points [-3.5, +13.5]".

    Pairs that all differ alike, most often not at all, say nothing of others when they are drawn again: there is no interval then.
    """
    if says_nothing_of_others(difference):
        return f"{points(difference.estimate)} points, {all_alike(difference)}"
    return f"{points(difference.estimate)} points [{points(difference.low)}, {points(difference.high)}]"


def says_nothing_of_others(difference: Interval) -> bool:
    """Whether the bootstrap found no width, which is not certainty."""
    return difference.low == difference.high


def all_alike(difference: Interval) -> str:
    """In words, how all pairs differ whose bootstrap has no width."""
    return "no episode differs" if difference.estimate == 0 else "every episode differs"
