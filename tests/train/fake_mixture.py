"""Three small datasets that have nothing in common but the layout, and the mixture of them as a user writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tau0.contract import Camera
from tau0.data.assemble import assemble
from tau0.data.schema import EpisodeRecord
from tau0.data.writer import UnitWriter
from tiny import EMBODIMENT, GROUP, NUM_FUTURE

BAD_EPISODE = 2
FASTER, LARGER = 2, 48
HAND = {"feature": "observation.state", "at": [0, 1, 2]}
PUSH = {"feature": "action", "at": [0, 1, 2]}

FILM: dict[str, Any] = {
    "name": "film",
    "kind": "egocentric",
    "embodiment": "human",
    "cameras": {"front": "front"},
    "supervises": {"video": 1.0},
}
"""Twice the rate, larger pictures, one camera, and nothing but these."""

FAILURES: dict[str, Any] = {
    "name": "failures",
    "kind": "rollout",
    "embodiment": "one-arm",
    "cameras": {"front": "front", "wrist": "wrist"},
    "state": {"hand": HAND},
    "action": {"hand": PUSH},
    "supervises": {"video": 1.0, "dynamics": 0.5, "progress": 1.0},
    "success": "none",
}
"""A robot without a gripper that never succeeds."""


def write_mixture(folder: Path) -> Path:
    """The file of a mixture of labelled demonstrations, of a film, and of failures of which one episode is damaged."""
    labelled = [EpisodeRecord.fake(22, seed) for seed in range(4)]
    film = [EpisodeRecord.fake(40, seed, ("front",), LARGER) for seed in range(20, 23)]
    failures = [_failed(EpisodeRecord.fake(18, seed)) for seed in range(10, 14)]
    broken = failures[BAD_EPISODE].action.copy()
    broken[7] = np.nan
    failures[BAD_EPISODE] = replace(failures[BAD_EPISODE], action=broken)
    front = Camera(name="front", height=LARGER, width=LARGER)
    _write(folder / "labelled", labelled)
    _write(folder / "film", film, cameras=(front,), control_hz=FASTER * EMBODIMENT.control_hz)
    _write(folder / "failures", failures)
    descriptions: dict[str, Any] = {"labelled": "metaworld", "film": FILM, "failures": FAILURES}
    mixture = {
        "layout": "metaworld",
        "rate_hz": EMBODIMENT.control_hz,
        "cameras": [{"name": camera.name, "height": camera.height, "width": camera.width} for camera in EMBODIMENT.cameras],
        "action_horizon": EMBODIMENT.action_horizon,
        "frame_stride": GROUP,
        "num_future": NUM_FUTURE,
        "weigh": "samples",
        "sources": [{"dataset": name, "description": description} for name, description in descriptions.items()],
    }
    path = folder / "mixture.json"
    path.write_text(json.dumps(mixture))
    return path


def _failed(record: EpisodeRecord) -> EpisodeRecord:
    meta = replace(record.meta, kind="failure", success=False)
    return replace(record, meta=meta, next_success=np.zeros(len(record), np.bool_))


def _write(root: Path, records: Sequence[EpisodeRecord], **differs: Any) -> None:
    embodiment = replace(EMBODIMENT, **differs)
    with UnitWriter(root, "only", embodiment) as writer:
        for record in records:
            writer.add(record)
    assemble(root, ["only"], embodiment)
