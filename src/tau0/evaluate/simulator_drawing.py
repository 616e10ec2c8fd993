"""A few plain charts in pixels: points with intervals, and curves with bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from tau0.evaluate.statistics import Interval

INK, FAINT, GRID = (34, 34, 34), (120, 120, 120), (228, 228, 228)
BLUE, ORANGE, GREEN, GREY = (27, 111, 179), (194, 92, 32), (46, 125, 50), (130, 130, 130)
Colour = tuple[int, int, int]

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 62, 40


@dataclass(frozen=True, kw_only=True)
class Series:
    """One colour of a chart.

    Attributes:
        name: For the legend.
        colour: Of points, whiskers and lines.
        at: Where along the horizontal axis, one number a value; places 0, 1, .. for a chart of points.
        values: Those that are None are left out.
    """

    name: str
    colour: Colour
    at: tuple[float, ...]
    values: tuple[Interval | None, ...]

    @property
    def known(self) -> list[tuple[float, Interval]]:
        """Those that are there."""
        return [(x, value) for x, value in zip(self.at, self.values, strict=True) if value is not None]


class Chart:
    """Axes in a rectangle of a picture, with a title, a legend, and what is drawn into them."""

    def __init__(
        self,
        picture: Image.Image,
        corner: tuple[int, int],
        size: tuple[int, int],
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
    ) -> None:
        """Draws the frame.

        Args:
            picture: RGB.
            corner: Left and top of the rectangle, pixels.
            size: Width and height, pixels.
            title: Above the axes.
            x: Ends of the horizontal axis.
            y: Ends of the vertical axis.
        """
        self._picture, self._draw, self._x, self._y = picture, ImageDraw.Draw(picture), x, y if y[0] < y[1] else (y[0] - 1, y[0] + 1)
        self._left, self._right = corner[0] + _LEFT, corner[0] + size[0] - _RIGHT
        self._top, self._bottom = corner[1] + _TOP, corner[1] + size[1] - _BOTTOM
        self._legend_x, self._legend_y = self._left, corner[1] + 30
        self._draw.text((corner[0] + 8, corner[1] + 6), title, INK, font(16))
        for value in _ticks(self._y):
            at = self._to_y(value)
            self._draw.line((self._left, at, self._right, at), INK if value == 0 else GRID)
            self._draw.text((self._left - 6, at), f"{value:g}", FAINT, font(12), anchor="rm")

    def under(self, places: Sequence[float], words: Sequence[str]) -> None:
        """Words under the horizontal axis; a line break is kept."""
        for place, word in zip(places, words, strict=True):
            self._draw.multiline_text((self._to_x(place), self._bottom + 6), word, FAINT, font(12), anchor="ma", align="center")

    def seconds(self) -> None:
        """The horizontal axis counts seconds."""
        ticks = _ticks(self._x)
        self.under(ticks, [f"{tick:g} s" for tick in ticks])

    def points(self, series: Series, shift: float = 0.0) -> None:
        """A point and a whisker for every value, moved sideways by `shift` of the axis' unit."""
        self._name(series)
        for place, value in series.known:
            x, y = self._to_x(place + shift), self._to_y(value.estimate)
            self._draw.line((x, self._to_y(value.low), x, self._to_y(value.high)), series.colour, 2)
            self._draw.ellipse((x - 4, y - 4, x + 4, y + 4), series.colour)

    def curve(self, series: Series) -> None:
        """A line through the values, with the band of their intervals."""
        self._name(series)
        points = [(self._to_x(x), self._to_y(v.estimate)) for x, v in series.known]
        band = [(self._to_x(x), self._to_y(v.high)) for x, v in series.known]
        band += [(self._to_x(x), self._to_y(v.low)) for x, v in reversed(series.known)]
        if len(points) > 1:
            self._shade(band, series.colour)
            self._draw.line(points, series.colour, 3)
        for x, y in points:
            self._draw.ellipse((x - 3, y - 3, x + 3, y + 3), series.colour)

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A thin grey line between two places of the axes, such as what would be perfect."""
        self._draw.line((self._to_x(start[0]), self._to_y(start[1]), self._to_x(end[0]), self._to_y(end[1])), FAINT, 1)

    def _name(self, series: Series) -> None:
        if series.name:
            self._draw.ellipse((self._legend_x, self._legend_y + 4, self._legend_x + 8, self._legend_y + 12), series.colour)
            self._draw.text((self._legend_x + 13, self._legend_y), series.name, INK, font(13))
            self._legend_x += int(font(13).getlength(series.name)) + 30

    def _shade(self, corners: Sequence[tuple[float, float]], colour: Colour) -> None:
        """A see-through polygon."""
        over = Image.new("L", self._picture.size)
        ImageDraw.Draw(over).polygon(list(corners), fill=45)
        self._picture.paste(colour, mask=over)

    def _to_x(self, value: float) -> float:
        return self._left + (value - self._x[0]) / (self._x[1] - self._x[0]) * (self._right - self._left)

    def _to_y(self, value: float) -> float:
        inside = min(max(value, self._y[0]), self._y[1])
        return self._bottom - (inside - self._y[0]) / (self._y[1] - self._y[0]) * (self._bottom - self._top)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def around(series: Sequence[Series], always: Sequence[float] = ()) -> tuple[float, float]:
    """Ends of an axis that holds all intervals, and the given numbers."""
    ends = [*always, *(end for one in series for _, value in one.known for end in (value.low, value.high))]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - (margin if low not in always else 0), high + (margin if high not in always else 0)


def _ticks(ends: tuple[float, float]) -> list[float]:
    """Round numbers between the ends, four to eight of them."""
    span = ends[1] - ends[0]
    steps = (s * 10.0**power for power in range(-6, 7) for s in (1, 2, 5))
    step = next(s for s in steps if span / s <= 8)
    first = -int(-ends[0] // step) if ends[0] > 0 else int(ends[0] / step)
    return [round(k * step, 9) for k in range(first, first + 12) if ends[0] - 1e-9 <= k * step <= ends[1] + 1e-9]
