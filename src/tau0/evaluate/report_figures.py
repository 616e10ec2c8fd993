"""An episode as the report's page wants it: numbers to draw from, one picture per decision, one film per episode."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tau0.contract import Candidates, Decision, Pixels
from tau0.evaluate.report_words import best_progress, explain, kind_of, plural
from tau0.evaluate.trace import EpisodeTrace
from tau0.evaluate.video import data_uri, encode_mp4, side_by_side

TILE_HEIGHT = 128
NUM_SHOWN_FRAMES = 4
SPRITE_COLUMNS = 8
WEBP_QUALITY = 74


def episode_figure(trace: EpisodeTrace) -> dict[str, Any]:
    """Everything the page shows of one episode, ready for JSON; pictures and film are data URIs."""
    fps = _frames_a_second(trace)
    canvas = side_by_side(trace.frames, gap=2, fill=128)
    ends = [*(decision.step for decision in trace.decisions), trace.num_steps][1:]
    return {
        "task": trace.task,
        "instruction": trace.instruction,
        "seed": trace.seed,
        "mode": trace.mode,
        "success": trace.success,
        "numSteps": trace.num_steps,
        "seconds": round(trace.seconds, 2),
        "cameras": list(trace.cameras) or [f"camera {i + 1}" for i in range(trace.frames.shape[1])],
        "actionNames": list(trace.action_names),
        "video": data_uri(encode_mp4(canvas, fps), "video/mp4"),
        "poster": _picture(canvas[-1], quality=70),
        "aspect": round(canvas.shape[2] / canvas.shape[1], 4),
        "fps": round(fps),
        "frameSteps": trace.frame_steps.tolist(),
        "decisions": [_decision_figure(trace, decision, end) for decision, end in zip(trace.decisions, ends, strict=True)],
    }


def _frames_a_second(trace: EpisodeTrace) -> float:
    """Real time where the rate is known, but held between 6 and 15 so that the eye can follow."""
    control_hz = trace.decisions[0].chunk.control_hz if trace.decisions else 30.0
    spacing = float(np.median(np.diff(trace.frame_steps))) if len(trace.frame_steps) > 1 else 1.0
    return float(np.clip(control_hz / max(spacing, 1.0), 6, 15))


@dataclass
class _Sprite:
    """Pictures of one size, collected in one image; each is known by its index."""

    tiles: list[Pixels] = field(default_factory=list)

    def add(self, views: Pixels) -> list[int]:
        """The indices of `views`, uint8 (v, h, w, 3)."""
        self.tiles.extend(views)
        return list(range(len(self.tiles) - len(views), len(self.tiles)))

    def figure(self) -> dict[str, Any]:
        """Address, tile size in pixels and tiles in a row; every tile gets the first one's size."""
        h, w, _ = self.tiles[0].shape
        scale = min(1.0, TILE_HEIGHT / h)
        size = (max(1, round(w * scale)), max(1, round(h * scale)))
        columns = min(SPRITE_COLUMNS, len(self.tiles))
        sheet = Image.new("RGB", (columns * size[0], math.ceil(len(self.tiles) / columns) * size[1]))
        for i, tile in enumerate(self.tiles):
            picture = Image.fromarray(tile)
            picture = picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
            sheet.paste(picture, (i % columns * size[0], i // columns * size[1]))
        return {"src": _picture(np.asarray(sheet), WEBP_QUALITY), "width": size[0], "height": size[1], "columns": columns}


def _picture(pixels: Pixels, quality: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=4)
    return data_uri(buffer.getvalue(), "image/webp")


def _decision_figure(trace: EpisodeTrace, decision: Decision, end: int) -> dict[str, Any]:
    sprite = _Sprite()
    executed = max(0, min(len(decision.chunk), end - decision.step))
    horizon = decision.proposals.actions.shape[1]
    now = _nearest_frame(trace, decision.step)
    shown, offsets = _shown_frames(decision, horizon)
    figure: dict[str, Any] = {
        "step": decision.step,
        "end": end,
        "kind": kind_of(decision),
        "words": explain(decision, executed) + (" With that, the task was solved." if trace.success and end == trace.num_steps else ""),
        "gate": None if decision.gate_threshold is None else _rounded(decision.gate_threshold),
        "passed": decision.gate_passed,
        "executed": executed,
        "chosen": {"round": 1 if decision.choice == "revised" else 0, "index": decision.chosen},
        "peak": decision.peak,
        "milliseconds": {stage: round(value, 1) for stage, value in decision.milliseconds.items()},
        "offsets": offsets,
        "now": None if now is None else sprite.add(trace.frames[now]),
        "real": [_real(trace, sprite, decision.step + offset) for offset in offsets],
        "rounds": [_round_figure(one, sprite, shown) for one in (decision.proposals, decision.revision) if one is not None],
    }
    return {**figure, "sprite": sprite.figure() if sprite.tiles else None}


def _shown_frames(decision: Decision, horizon: int) -> tuple[list[int], list[int]]:
    """Which imagined frames are shown, and how many control steps ahead each lies; they share the horizon evenly."""
    rounds = (decision.proposals, decision.revision)
    counts = [one.frames.shape[2] for one in rounds if one is not None and one.frames is not None]
    f = counts[0] if counts else 2
    shown = sorted({round((i + 1) * f / min(f, NUM_SHOWN_FRAMES)) - 1 for i in range(min(f, NUM_SHOWN_FRAMES))})
    return shown, [round((horizon - 1) * (i + 1) / f) for i in shown]


def _nearest_frame(trace: EpisodeTrace, step: int) -> int | None:
    """The index of the real frame at `step`, or of one half a sampling interval away at most."""
    if not len(trace.frame_steps):
        return None
    spacing = np.median(np.diff(trace.frame_steps)) if len(trace.frame_steps) > 1 else 1
    distance = np.abs(trace.frame_steps - step)
    nearest = int(distance.argmin())
    return nearest if distance[nearest] <= spacing / 2 else None


def _real(trace: EpisodeTrace, sprite: _Sprite, step: int) -> dict[str, Any] | None:
    index = _nearest_frame(trace, step)
    return None if index is None else {"step": int(trace.frame_steps[index]), "tiles": sprite.add(trace.frames[index])}


def _round_figure(candidates: Candidates, sprite: _Sprite, shown: list[int]) -> dict[str, Any]:
    best = best_progress(candidates)
    return {
        "mostConsistent": None if candidates.scores is None else int(candidates.scores.argmax()),
        "mostPromising": None if best is None else best[0],
        "candidates": [_candidate_figure(candidates, i, sprite, shown) for i in range(len(candidates.actions))],
    }


def _candidate_figure(candidates: Candidates, i: int, sprite: _Sprite, shown: list[int]) -> dict[str, Any]:
    is_imagined = candidates.progress is not None and bool(np.isfinite(candidates.progress[i]).all())
    progress = candidates.progress if is_imagined else None
    frames = candidates.frames if is_imagined or candidates.progress is None else None
    return {
        "score": None if candidates.scores is None else _rounded(float(candidates.scores[i])),
        "progress": None if progress is None else [_rounded(float(value)) for value in progress[i]],
        "actions": [_rounded_all(line) for line in candidates.actions[i].T],
        "frames": None if frames is None else [sprite.add(frames[i][:, f]) for f in shown],
        "outcome": None if candidates.outcomes is None else _outcome(float(candidates.outcomes[i])),
    }


def _outcome(steps: float) -> str:
    """What trying a candidate in a copy of the world led to, in words."""
    return f"solves it in {plural(round(steps), 'step')}" if math.isfinite(steps) else "does not solve it"


def _rounded(value: float) -> float | None:
    """Five significant digits; None for what a page cannot draw."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _rounded_all(values: NDArray[np.floating[Any]]) -> list[float | None]:
    return [_rounded(float(f"{value:.3g}")) for value in values]
