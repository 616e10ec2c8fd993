"""The precision-recall curve of a gate as a picture that needs nothing but a browser: SVG, written by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from tau0.evaluate.calibration import CurvePoint

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 460, 64, 24, 64, 56
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#222}.small{font-size:12px;fill:#555}.axis{stroke:#999}.grid{stroke:#e4e4e4}"
    ".curve{fill:none;stroke:#1b6fb3;stroke-width:2.5}.chance{stroke:#b0552b;stroke-dasharray:5 4}.chosen{fill:#c2185b}"
)


def curve_svg(points: Sequence[CurvePoint], chosen: CurvePoint, share_bad: float, title: str, label: str) -> str:
    """A document: precision over recall of simulating what lies below each threshold.

    Args:
        points: The curve; where nothing is simulated there is no precision, and those points are left out.
        chosen: The gate's own point.
        share_bad: Of all decisions: the precision of simulating at random.
        title: What was calibrated.
        label: What a bad decision is.
    """
    known = sorted((p for p in points if math.isfinite(p.precision) and math.isfinite(p.recall)), key=lambda p: p.recall)
    path = " ".join(f"{_x(p.recall):.1f},{_y(p.precision):.1f}" for p in known)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="26">{escape(title)}</text>',
        f'<text x="{LEFT}" y="46" class="small">bad: {escape(label)}; dashed: simulating at random ({share_bad:.0%} are bad)</text>',
        *(_grid(tenth / 10) for tenth in range(0, 11, 2)),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">'
        "of the bad decisions, share simulated (recall)</text>",
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "of the simulated, share bad (precision)</text>",
        f'<line class="chance" x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="{_y(share_bad):.1f}" y2="{_y(share_bad):.1f}"/>',
        f'<polyline class="curve" points="{path}"/>',
        *_chosen(chosen),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _chosen(point: CurvePoint) -> list[str]:
    """The gate's dot with its threshold; nothing where it has no precision."""
    if not (math.isfinite(point.precision) and math.isfinite(point.recall)):
        return []
    x, y, is_right = _x(point.recall), _y(point.precision), point.recall > 0.6
    anchor, shift = ("end", -10) if is_right else ("start", 10)
    words = f"gate {point.threshold:.4g}: simulates {point.simulated:.0%}, risk {point.risk:.0%}"
    return [
        f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        f'<text class="small" x="{x + shift:.1f}" y="{y - 9:.1f}" text-anchor="{anchor}">{escape(words)}</text>',
    ]


def _grid(value: float) -> str:
    kind = "axis" if value == 0 else "grid"
    return (
        f'<line class="{kind}" x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="{_y(0):.1f}" y2="{_y(1):.1f}"/>'
        f'<line class="{kind}" x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="{_y(value):.1f}" y2="{_y(value):.1f}"/>'
        f'<text class="small" x="{_x(value):.1f}" y="{_y(0) + 18:.1f}" text-anchor="middle">{value:.0%}</text>'
        f'<text class="small" x="{_x(0) - 8:.1f}" y="{_y(value) + 4:.1f}" text-anchor="end">{value:.0%}</text>'
    )


def _x(value: float) -> float:
    return LEFT + value * (WIDTH - LEFT - RIGHT)


def _y(value: float) -> float:
    return HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP)
