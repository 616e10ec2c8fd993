"""Drawings of a simulator's card: how long rollouts last, predicted against true progress, and pictures measured view by view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tau0.evaluate.report_card_measures import at, finite, interval_of

MEASURES = {"psnr_db": ("PSNR", "dB", 1), "ssim": ("SSIM", "", 3), "perceptual": ("perceptual distance", "", 3)}
"""Name, unit and decimals of the measures of pictures; others keep their own name."""
LESS_IS_BETTER = "perceptual"


def rollout_drawing(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """The gain of long rollouts over a still picture, frame by frame, on axes of 100 by 40; None where none was measured."""
    frames = at(card, "rollouts.frames")
    found = [
        (seconds, gain)
        for frame in (frames if isinstance(frames, Sequence) else ())
        if (seconds := finite(at(frame, "seconds"))) is not None and (gain := interval_of(at(frame, "gain"))) is not None
    ]
    if len(found) < 2:
        return None
    end = found[-1][0]
    low = min(-0.2, *(max(-1.0, gain[1]) for _, gain in found))

    def place(seconds: float, value: float) -> str:
        return f"{100 * seconds / end:.1f} {40 * (1 - min(max(value, low), 1.0)) / (1 - low):.1f}"

    upper = [place(seconds, gain[2]) for seconds, gain in found]
    lower = [place(seconds, gain[1]) for seconds, gain in reversed(found)]
    horizon = interval_of(at(card, "rollouts.horizon_s"))
    is_broken = at(card, "rollouts.is_broken") is True and horizon is not None
    return {
        "line": "M" + "L".join(place(seconds, gain[0]) for seconds, gain in found),
        "band": "M" + "L".join([*upper, *lower]) + "Z",
        "zero": 40 / (1 - low),
        "end": f"{end:.1f} s",
        "broken": 100 * min(horizon[0] / end, 1.0) if is_broken and horizon is not None else None,
        "words": f"a still picture is as good from {horizon[0]:.1f} s on"
        if is_broken and horizon is not None
        else "better than a still picture for as long as the recordings last",
    }


def calibration_drawing(card: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Predicted against true progress, both in [-1, 1], on axes of 100 by 100; None where there are no two points."""
    bins = at(card, "progress.calibration")
    points = []
    for one in bins if isinstance(bins, Sequence) else ():
        predicted, true = finite(at(one, "predicted")), interval_of(at(one, "true"))
        if predicted is not None and true is not None:
            count = finite(at(one, "num_steps")) or 0.0
            x, (y, low, high) = 50 + 50 * predicted, (50 - 50 * min(max(value, -1.0), 1.0) for value in true)
            points.append({"x": x, "y": y, "low": low, "high": high, "count": count})
    if len(points) < 2:
        return None
    most = max(point["count"] for point in points) or 1.0
    return [{**point, "radius": 1.6 + 3.4 * (point["count"] / most) ** 0.5} for point in points]


def picture_rows(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a camera, measure and horizon: the imagined picture, a still one, and whether the difference is sure."""
    views = at(card, "pictures.views")
    horizons = [
        (str(camera), str(measure), horizon)
        for camera, measures in (views.items() if isinstance(views, Mapping) else ())
        for measure, horizons in (measures.items() if isinstance(measures, Mapping) else ())
        for horizon in (horizons if isinstance(horizons, Sequence) else ())
    ]
    return [row for place in horizons if (row := _picture_row(*place)) is not None]


def _picture_row(camera: str, measure: str, horizon: Any) -> dict[str, Any] | None:
    imagined, copied = interval_of(at(horizon, "imagined")), interval_of(at(horizon, "copied"))
    if imagined is None or copied is None:
        return None
    name, unit, decimals = MEASURES.get(measure, (measure.replace("_", " "), "", 3))
    kept, encoded, gain = (interval_of(at(horizon, key)) for key in ("kept", "encoded", "gain"))
    seconds = finite(at(horizon, "seconds"))

    def said(interval: tuple[float, float, float] | None) -> str:
        return "–" if interval is None else f"{interval[0]:.{decimals}f}{' ' if unit else ''}{unit}".replace("-", "−")

    return {
        "camera": camera,
        "measure": name,
        "sense": "less is better" if measure == LESS_IS_BETTER else "more is better",
        "after": "" if seconds is None else f"{seconds:.2g} s",
        "imagined": said(imagined),
        "copied": said(copied),
        "kept": said(kept),
        "encoded": said(encoded),
        "gain": said(gain).replace("–", "") and ("" if gain is None or gain[0] < 0 else "+") + said(gain),
        "is_better": gain is not None and gain[1] > 0,
        "is_worse": gain is not None and gain[2] < 0,
    }
