"""Differences as text: no interval without a width, no minus before nothing."""

from __future__ import annotations

import pytest

from tau0.evaluate.points import points, points_text
from tau0.evaluate.statistics import Interval


@pytest.mark.parametrize(("share", "text"), [(0.04, "+4.0"), (-0.04, "-4.0"), (-0.0, "+0.0"), (-0.0004, "+0.0"), (0.0, "+0.0")])
def test_nothing_has_no_minus(share: float, text: str) -> None:
    assert points(share) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.04, -0.035, 0.135), "+4.0 points [-3.5, +13.5]"),
        ((0.0, -0.0004, 0.1), "+0.0 points [+0.0, +10.0]"),
        ((0.0, 0.0, 0.0), "+0.0 points, no episode differs"),
        ((1.0, 1.0, 1.0), "+100.0 points, every episode differs"),
    ],
)
def test_an_interval_without_a_width_is_not_printed(ends: tuple[float, float, float], text: str) -> None:
    estimate, low, high = ends
    assert points_text(Interval(estimate=estimate, low=low, high=high)) == text
