"""A diagnosis as one self-contained page: findings, what may be supervised, pictures and curves of a few episodes, every number."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from tau0.contract import Pixels
from tau0.data.doctor.diagnosis import CameraReport, Diagnosis, ShownEpisode, grouped
from tau0.data.doctor.number_rules import Dimension
from tau0.data.schema import ACTION, IMAGE_PREFIX, STATE
from tau0.evaluate.video import data_uri

ROOM = Path(__file__).parent
PLOT_WIDTH, PLOT_HEIGHT = 240, 64
MAX_LISTED = 400
WEBP_QUALITY = 76


def write_doctor_page(path: Path, diagnosis: Diagnosis) -> Path:
    """Writes one HTML file that needs nothing else. Returns `path`.

    Raises:
        OSError: The place cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.unfinished"
    try:
        unfinished.write_text(_render(diagnosis), encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def verdict(diagnosis: Diagnosis) -> str:
    """One sentence about the whole."""
    errors, warnings = diagnosis.count("error"), diagnosis.count("warning")
    if errors:
        others = f", and {_plural(warnings, 'thing')} to look at" if warnings else ""
        return f"Not usable as it is: {_plural(errors, 'error')}{others}."
    return f"Usable, with {_plural(warnings, 'thing')} to look at." if warnings else "Sound: nothing to complain about."


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _render(diagnosis: Diagnosis) -> str:
    environment = Environment(
        loader=FileSystemLoader(ROOM), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("doctor.html.j2").render(
        report=diagnosis,
        name=diagnosis.root.resolve().name,
        verdict=verdict(diagnosis),
        duration=_duration(diagnosis.seconds),
        groups=grouped(diagnosis.findings),
        cameras=[_camera(camera) for camera in diagnosis.cameras],
        shown=[_episode(episode, diagnosis) for episode in diagnosis.shown],
        tables=[_table(name, diagnosis.dimensions) for name in (STATE, ACTION) if any(d.feature == name for d in diagnosis.dimensions)],
        listed=diagnosis.episodes[:MAX_LISTED],
        has_success=any(line.success is not None for line in diagnosis.episodes),
        style=Markup("\n").join(Markup((ROOM / name).read_text(encoding="utf-8")) for name in ("report.css", "doctor.css")),
    )


def _duration(seconds: float) -> tuple[str, str]:
    """A number and its unit."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f}", "hours"
    return (f"{seconds / 60:.1f}", "minutes") if seconds >= 90 else (f"{seconds:.1f}", "seconds")


def _camera(camera: CameraReport) -> dict[str, Any]:
    curve = np.array(camera.curve)
    return {
        "report": camera,
        "name": camera.name.removeprefix(IMAGE_PREFIX),
        "line": _path(curve, -0.2, 1.0, 120, 28) if len(curve) else "",
        "middle": 60,
    }


def _episode(episode: ShownEpisode, diagnosis: Diagnosis) -> dict[str, Any]:
    plots = _plots(episode, diagnosis.dimensions)
    return {
        "index": episode.index,
        "instruction": episode.instruction,
        "length": episode.length,
        "seconds": episode.seconds,
        "films": [
            {
                "camera": camera.removeprefix(IMAGE_PREFIX),
                "pictures": [
                    {"src": _picture(pixels), "at": f"{frame / diagnosis.fps:.1f} s"}
                    for pixels, frame in zip(pictures, episode.picture_frames[camera], strict=True)
                ],
            }
            for camera, pictures in episode.pictures.items()
        ],
        "plots": [plot for plot in plots if not plot["is_still"]],
        "still": [plot["name"] for plot in plots if plot["is_still"]],
    }


def _plots(episode: ShownEpisode, dims: Sequence[Dimension]) -> list[dict[str, Any]]:
    """One small plot for each number; an action lies over the state of the same name."""
    names: dict[str, dict[str, Dimension]] = {}
    for dim in dims:
        if dim.feature in episode.series:
            names.setdefault(dim.name, {})[dim.feature] = dim
    plots = []
    for name, of in names.items():
        series = {feature: episode.series[feature][:, dim.index] for feature, dim in of.items()}
        low, high = min(values.min() for values in series.values()), max(values.max() for values in series.values())
        room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.5
        lines = {feature: _path(values, low - room, high + room, PLOT_WIDTH, PLOT_HEIGHT) for feature, values in series.items()}
        plots.append({"name": name, "low": f"{low:.3g}", "high": f"{high:.3g}", "lines": lines, "is_still": low == high})
    return plots


def _path(values: NDArray[np.floating], low: float, high: float, width: int, height: int) -> str:
    """The `d` of an SVG path through `values`, `low` at the bottom and `high` at the top."""
    x = np.linspace(0, width, len(values))
    y = height * (1 - (np.clip(values, low, high) - low) / ((high - low) or 1.0))
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _table(feature: str, dims: Sequence[Dimension]) -> dict[str, Any]:
    """The numbers of a feature, each with a drawing of where its values lie between the smallest and the largest."""
    return {"feature": feature, "rows": [{"dim": dim, "box": _box(dim)} for dim in dims if dim.feature == feature]}


def _box(dim: Dimension) -> dict[str, float]:
    width = (dim.high - dim.low) or 1.0
    at = [100 * (value - dim.low) / width for value in dim.quantiles]
    return {"from": at[1], "width": max(at[5] - at[1], 0.8), "median": at[3]}


def _picture(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return data_uri(buffer.getvalue(), "image/webp")
