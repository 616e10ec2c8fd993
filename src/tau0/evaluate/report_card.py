"""The simulator's report card as the page shows it: from the JSON of `tau0 card`, whatever of it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tau0.evaluate.records import RecordsError
from tau0.evaluate.report_card_drawings import calibration_drawing, picture_rows, rollout_drawing
from tau0.evaluate.report_card_measures import SAID_ELSEWHERE, SECTIONS, Measure, at, finite, interval_of

CARD_NAME = "card.json"
KEPT_CARD_NAME = "checkpoint-card.json"
"""The copy of a checkpoint's card that a run keeps."""
MAX_OTHER_ROWS = 60
MAX_BYTES = 2_000_000


class CardError(RecordsError):
    """A file is not the JSON of `tau0 card`. The message names it and what is wrong."""


def read_card(path: Path) -> Mapping[str, Any]:
    """The card in a file.

    Raises:
        CardError: It is not there, too large for a card, not JSON, or not an object.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CardError(f"{path} has {path.stat().st_size:,} bytes, expected the card of a simulator, which has a few thousand")
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CardError(f"{path} is not JSON: {error}") from None
    if not isinstance(card, dict) or not any(name in card for name in ("future", "actions", "progress")):
        raise CardError(f"{path} is not the card of a simulator, expected what `tau0 card CHECKPOINT --data DATA --out {CARD_NAME}` writes")
    return card


def card_figure(card: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of rows that the page has words for, and everything else under its own name.

    Args:
        card: Of any version: what is missing is left out, what is unknown is listed.
    """
    sections: list[dict[str, Any]] = []
    used: set[str] = set(SAID_ELSEWHERE)
    for title, (about, measures) in SECTIONS.items():
        rows = []
        for measure in measures:
            used.add(measure.path)
            if (interval := interval_of(at(card, measure.path))) is not None:
                rows.append(_row(card, measure, interval))
        if rows:
            sections.append({"title": title, "about": about, "rows": rows})
    others = [line for path, value in _leaves(card, "", used) if (line := _other(path, value)) is not None]
    return {
        "fingerprint": str(card.get("fingerprint", "")),
        "counts": _counts(card),
        "sections": sections,
        "pictures": picture_rows(card),
        "perceptual": str(at(card, "pictures.perceptual") or ""),
        "rollouts": rollout_drawing(card),
        "calibration": calibration_drawing(card),
        "others": others[:MAX_OTHER_ROWS],
        "num_hidden": max(0, len(others) - MAX_OTHER_ROWS),
    }


def _row(card: Mapping[str, Any], measure: Measure, interval: tuple[float, float, float]) -> dict[str, Any]:
    estimate, low, high = interval
    chance = finite(at(card, measure.chance)) if isinstance(measure.chance, str) else measure.chance
    left, right = min(0.0, low), max(1.0, high)
    marks = {"wanted": measure.wanted, "chance": chance}
    is_open = bool(measure.reached) and at(card, measure.reached) is False
    return {
        "words": measure.words,
        "found": ("over " if is_open else "") + _text(estimate, measure.unit),
        "ends": "as long as recorded" if is_open else f"{_text(low, measure.unit)} to {_text(high, measure.unit)}",
        "wanted": None if measure.wanted is None else _text(measure.wanted, measure.unit),
        "chance": None if not chance else _text(chance, measure.unit),
        "is_drawn": measure.unit != "s",
        "is_met": None if measure.wanted is None else estimate >= measure.wanted,
        "at": {name: 100 * (value - left) / (right - left) for name, value in marks.items() if value is not None},
        "percent": 100 * (estimate - left) / (right - left),
        "low": 100 * (low - left) / (right - left),
        "high": 100 * (high - left) / (right - left),
    }


def _text(value: float, unit: str) -> str:
    text = f"{100 * value:z.0f}%" if unit == "%" else f"{value:z.1f} s" if unit == "s" else f"{value:z.2f}"
    return text.replace("-", "−")


def _leaves(value: Any, path: str, used: set[str]) -> Iterator[tuple[str, Any]]:
    """Every part of the card that holds numbers and that nobody has shown yet, in its order."""
    if path in used:
        return
    if isinstance(value, Mapping) and interval_of(value) is None:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key), used)
    else:
        yield path, value


def _other(path: str, value: Any) -> dict[str, Any] | None:
    """A number, an interval or a curve, under its own name; None for what is neither."""
    name = " · ".join(part.replace("_", " ") for part in path.split("."))
    if (interval := interval_of(value)) is not None:
        estimate, low, high = interval
        return {"name": name, "found": _short(estimate), "ends": "" if low == high else f"{_short(low)} to {_short(high)}", "curve": None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        points = [interval[0] for item in value if (interval := interval_of(item)) is not None]
        if 1 < len(points) == len(value):
            return {"name": name, "found": f"{_short(points[0])} … {_short(points[-1])}", "ends": "", "curve": _curve(points)}
    return None


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _curve(points: Sequence[float]) -> str:
    """The `d` of an SVG path through `points`, 100 wide and 20 high."""
    low, high = min(points), max(points)
    span = (high - low) or 1.0
    places = [(100 * i / (len(points) - 1), 19 - 18 * (y - low) / span) for i, y in enumerate(points)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _counts(card: Mapping[str, Any]) -> str:
    """What it was measured on, in words; empty where the card does not say."""
    windows = card.get("num_windows")
    kinds = [f"{count} {kind}" for kind, count in windows.items() if count] if isinstance(windows, Mapping) else []
    parts = [f"held-out moments: {', '.join(kinds)}"] if kinds else []
    parts += [f"{number:.0f} episodes" for number in [finite(card.get("num_episodes"))] if number is not None]
    return ", from ".join(parts)
