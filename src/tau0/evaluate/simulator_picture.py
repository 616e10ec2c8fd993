"""A simulator's report card as one picture: charts of its numbers above films of its long rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tau0.evaluate.simulator_drawing import BLUE, FAINT, GREEN, GREY, INK, ORANGE, Chart, Series, around, font
from tau0.evaluate.simulator_results import SimulatorCard
from tau0.evaluate.simulator_rollouts import Film
from tau0.evaluate.statistics import Interval
from tau0.evaluate.video import side_by_side

WIDTH, CHART_WIDTH, CHART_HEIGHT, HEAD, MARGIN = 1560, 500, 330, 74, 20
FRAME_WIDTH, MOST_FRAMES, LABEL_WIDTH = 108, 12, 82

_KINDS = (("imagined", BLUE), ("copied", ORANGE), ("encoded", GREY))
Draw = Callable[[Image.Image, tuple[int, int]], None]


def draw_card(card: SimulatorCard, films: Sequence[Film], title: str, path: Path) -> None:
    """Writes the picture as PNG."""
    card_picture(card, films, title).save(path, "PNG")


def card_picture(card: SimulatorCard, films: Sequence[Film], title: str) -> Image.Image:
    """The picture, RGB, 1560 pixels wide."""
    charts = _charts(card)
    rows = -(-len(charts) // 3)
    strips = [_strip(film) for film in films]
    height = HEAD + rows * CHART_HEIGHT + sum(strip.height + MARGIN for strip in strips) + MARGIN
    picture = Image.new("RGB", (WIDTH, height), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    counts = ", ".join(f"{number} {kind}" for kind, number in card.num_windows.items() if number)
    said = f"Held-out windows: {counts}; {card.num_moving} of them move. 95% intervals resample {card.num_episodes} episodes."
    draw.text((MARGIN, 12), f"The simulator of {title}", INK, font(24))
    draw.text((MARGIN, 46), said, FAINT, font(14))
    for i, chart in enumerate(charts):
        chart(picture, (MARGIN + i % 3 * (CHART_WIDTH + 10), HEAD + i // 3 * CHART_HEIGHT))
    top = HEAD + rows * CHART_HEIGHT
    for strip in strips:
        picture.paste(strip, (MARGIN, top))
        top += strip.height + MARGIN
    return picture


def _charts(card: SimulatorCard) -> list[Draw]:
    """Those for which there are numbers."""
    charts: list[Draw] = []
    if card.pictures is not None:
        measures = next(iter(card.pictures.views.values()))
        names = {"psnr_db": "PSNR in dB, moving windows: more is better", "perceptual": "perceptual distance: less is better"}
        charts += [_pictures(card, measure, name) for measure, name in names.items() if measure in measures]
        charts += [] if "perceptual" in measures else [_pictures(card, "ssim", "SSIM: more is better")]
    charts.append(_added_errors(card))
    if card.actions.direction is not None:
        charts.append(_directions(card))
    if card.progress.calibration:
        charts.append(_calibration(card))
    if card.rollouts is not None:
        charts.append(_rollouts(card))
    return charts


def _pictures(card: SimulatorCard, measure: str, title: str) -> Draw:
    assert card.pictures is not None
    found = [(f"{view}\n{h.seconds:.2f} s", h) for view, measures in card.pictures.views.items() for h in measures[measure]]
    places = tuple(float(i) for i in range(len(found)))
    series = [Series(name=name, colour=colour, at=places, values=tuple(getattr(h, name) for _, h in found)) for name, colour in _KINDS]
    return _dots(title, [words for words, _ in found], series, ())


def _added_errors(card: SimulatorCard) -> Draw:
    actions = card.actions
    found = {
        "swapped": actions.swapped,
        "same\nstate": actions.same_state,
        "negated": actions.negated,
        "zeroed": actions.zeroed,
        "random": actions.drawn,
    }
    values = tuple(None if v is None else _scaled(v, 100) for v in found.values())
    series = Series(name="", colour=BLUE, at=tuple(map(float, range(len(found)))), values=values)
    return _dots("error added by other actions, %", list(found), [series], (0.0,))


def _directions(card: SimulatorCard) -> Draw:
    way = card.actions.direction
    assert way is not None
    found = {"real\nfuture": way.read_from_real, "own\nactions": way.own, "swapped,\nowner's": way.swapped, "negated\nactions": way.negated}
    series = Series(name="", colour=GREEN, at=(0.0, 1.0, 2.0, 3.0), values=tuple(found.values()))
    return _dots("motion read from futures, correlation with the true one", list(found), [series], (-1.0, 0.0, 1.0))


def _calibration(card: SimulatorCard) -> Draw:
    bins = card.progress.calibration
    series = Series(name="mean truth", colour=BLUE, at=tuple(b.predicted for b in bins), values=tuple(b.true for b in bins))

    def draw(picture: Image.Image, corner: tuple[int, int]) -> None:
        chart = Chart(picture, corner, (CHART_WIDTH, CHART_HEIGHT), "progress: predicted (across), true (up)", (-1, 1), (-1, 1))
        chart.under((-1, -0.5, 0, 0.5, 1), ("-1", "-0.5", "0", "0.5", "1"))
        chart.line((-1, -1), (1, 1))
        chart.curve(series)

    return draw


def _rollouts(card: SimulatorCard) -> Draw:
    assert card.rollouts is not None
    frames = card.rollouts.frames
    at = tuple(frame.seconds for frame in frames)
    series = [
        Series(name="than the first frame", colour=BLUE, at=at, values=tuple(_percent(frame.gain) for frame in frames)),
        Series(name="than a camera late by one window", colour=ORANGE, at=at, values=tuple(_percent(f.gain_late) for f in frames)),
    ]
    low, high = around(series, (0.0,))

    def draw(picture: Image.Image, corner: tuple[int, int]) -> None:
        ends = (0.0, max(at)), (max(low, -150.0), high)
        chart = Chart(picture, corner, (CHART_WIDTH, CHART_HEIGHT), "long rollouts: by how many % the error is smaller", *ends)
        chart.seconds()
        for one in series:
            chart.curve(one)

    return draw


def _dots(title: str, words: Sequence[str], series: Sequence[Series], always: Sequence[float]) -> Draw:
    def draw(picture: Image.Image, corner: tuple[int, int]) -> None:
        ends = (-0.6, len(words) - 0.4)
        chart = Chart(picture, corner, (CHART_WIDTH, CHART_HEIGHT), title, ends, around(series, always))
        chart.under(range(len(words)), words)
        for i, one in enumerate(series):
            chart.points(one, 0.14 * (i - (len(series) - 1) / 2))

    return draw


def _scaled(value: Interval, by: float) -> Interval:
    return Interval(estimate=value.estimate * by, low=value.low * by, high=value.high * by)


def _percent(value: Interval | None) -> Interval | None:
    return None if value is None else _scaled(value, 100)


def _strip(film: Film) -> Image.Image:
    """What happened above what was imagined, the views of a frame one below the other, at most twelve moments."""
    moments = np.unique(np.linspace(0, len(film.seconds) - 1, min(MOST_FRAMES, len(film.seconds))).round().astype(int))
    rows = [_row(film.real[moments, v : v + 1]) for v in range(film.real.shape[1])]
    rows += [_row(film.imagined[moments, v : v + 1]) for v in range(film.real.shape[1])]
    height = 44 + sum(row.height + 3 for row in rows)
    strip = Image.new("RGB", (WIDTH - 2 * MARGIN, height), (255, 255, 255))
    draw = ImageDraw.Draw(strip)
    draw.text((0, 0), f"{film.title}: what happened, and what was imagined from the first frame and the actions alone", INK, font(16))
    for i, moment in enumerate(moments):
        draw.text((LABEL_WIDTH + i * FRAME_WIDTH, 24), f"{film.seconds[moment]:.2f} s", FAINT, font(13))
    top = 44
    for i, row in enumerate(rows):
        draw.text((0, top + row.height // 2), "real" if i < len(rows) // 2 else "imagined", INK, font(14), anchor="lm")
        strip.paste(row, (LABEL_WIDTH, top))
        top += row.height + 3
    return strip


def _row(frames: np.ndarray) -> Image.Image:
    """Frames (t, 1, h, w, 3) beside each other."""
    beside = Image.fromarray(side_by_side(np.swapaxes(frames, 0, 1), gap=2, fill=255)[0])
    width = len(frames) * FRAME_WIDTH
    return beside.resize((width, round(beside.height * width / beside.width)), Image.Resampling.LANCZOS)
