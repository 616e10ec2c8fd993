"""A robot as the live page is told of it: JSON, with small pictures in it."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tau0.contract import Decision, Pixels
from tau0.serve.live import RobotView, chosen_round

MAX_SIDE, MAX_CAMERAS, MAX_FUTURES = 192, 8, 6
"""Longest side of a picture in pixels, and most pictures of each kind in one message."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is to be shown, taken in a moment.

    Attributes:
        facts: All but the pictures.
        cameras: (name, uint8 picture (h, w, 3)).
        futures: (candidate, uint8 picture (h, w, 3)) of how it ends as it was imagined.
    """

    facts: dict[str, Any]
    cameras: tuple[tuple[str, Pixels], ...] = ()
    futures: tuple[tuple[int, Pixels], ...] = ()

    def text(self) -> str:
        """As a message, pictures drawn. This takes a few milliseconds, and belongs into a thread of its own."""
        pictures = {
            "cameras": [{"name": name, "picture": picture_address(pixels)} for name, pixels in self.cameras],
            "futures": [{"candidate": number, "picture": picture_address(pixels)} for number, pixels in self.futures],
        }
        return json.dumps({**self.facts, **pictures}, allow_nan=False)


def snapshot(view: RobotView | None, common: dict[str, Any]) -> Snapshot:
    """What is known of a robot, None for no robot, beside what is `common` to all."""
    if view is None:
        return Snapshot(facts={**common, "robot": None})
    observation, decision = view.observation, view.decision
    robot: dict[str, Any] = {
        "id": view.id,
        "paused": view.is_paused,
        "instruction": "" if observation is None else observation.instruction,
        "step": None if observation is None else observation.step,
        "latency": [[finite(queue), finite(work)] for queue, work in view.latency_ms],
        "progress": [[step, finite(value)] for step, value in view.progress],
        "trips": dict(view.trips),
        "decision": None if decision is None else decision_facts(decision),
    }
    return Snapshot(
        facts={**common, "robot": robot},
        cameras=() if observation is None else tuple(observation.images.items())[:MAX_CAMERAS],
        futures=() if decision is None else _futures(decision),
    )


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision without its pictures and actions."""
    considered, scores = chosen_round(decision), decision.proposals.scores
    return {
        "mode": decision.mode,
        "choice": decision.choice,
        "chosen": decision.chosen,
        "gate": None
        if decision.gate_threshold is None
        else {
            "threshold": finite(decision.gate_threshold),
            "passed": decision.gate_passed,
            "best": None if scores is None or np.isnan(scores).all() else finite(np.nanmax(scores)),
        },
        "candidates": [
            {
                "score": None if considered.scores is None else finite(considered.scores[number]),
                "progress": None if considered.progress is None else [finite(value) for value in considered.progress[number]],
            }
            for number in range(len(considered.actions))
        ],
        "milliseconds": {stage: finite(value) for stage, value in decision.milliseconds.items()},
        "skipped": list(decision.skipped),
    }


def finite(value: Any) -> float | None:
    """The number to four digits behind the point; None for what JSON has no word for."""
    return round(float(value), 4) if math.isfinite(value) else None


def picture_address(pixels: Pixels) -> str:
    """The picture as an address of its own, a PNG of at most `MAX_SIDE` pixels a side. `pixels` are uint8 (h, w, 3)."""
    every = math.ceil(max(pixels.shape[:2]) / MAX_SIDE)
    return "data:image/png;base64," + base64.b64encode(png(np.ascontiguousarray(pixels[::every, ::every]))).decode()


def png(pixels: Pixels) -> bytes:
    """The picture, uint8 (h, w, 3), as a PNG file. RFC 2083; rows are not filtered."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, data) for name, data in parts)


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _futures(decision: Decision) -> tuple[tuple[int, Pixels], ...]:
    """The last imagined frame of the first candidates, the chosen one before all others; its cameras stand side by side."""
    frames = chosen_round(decision).frames
    if frames is None:
        return ()
    others = [number for number in range(len(frames)) if number != decision.chosen]
    numbers = [decision.chosen, *others][:MAX_FUTURES]
    return tuple((number, np.concatenate(list(frames[number, :, -1]), axis=1)) for number in numbers)
