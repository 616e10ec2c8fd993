"""What the server answers: a decision and its chunk, imagined futures, a refusal. Encode stands beside decode. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np

from tau0.contract import ActionChunk, Candidates, Choice, Decision, Float, Pixels
from tau0.serve.fields import named, number, text, whole
from tau0.serve.protocol import Refusal, RefusedError

_ROUND = ("actions", "scores", "progress")


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What would come of n given chunks.

    Attributes:
        progress: Imagined progress in [-1, 1], shape (n, ha).
        frames: Imagined pictures, uint8 (n, v, f, h, w, 3), future frames only; None unless asked for.
        milliseconds: What it took.
    """

    progress: Float
    frames: Pixels | None
    milliseconds: float


def decision_answer(decision: Decision, timing: Mapping[str, float], wants_details: bool) -> dict[str, Any]:
    """The answer to an observation, without imagined pictures, which are for people.

    `actions`, shape (steps, da), is its only array unless the whole decision is wanted: openpi's clients cut every array of an answer into
    control steps. Numbers that are none (a candidate that was not scored) are left as they are; msgpack carries them.
    """
    answer: dict[str, Any] = {
        "actions": decision.chunk.actions,
        "control_hz": decision.chunk.control_hz,
        "step": decision.step,
        "policy_timing": {f"{stage}_ms": float(value) for stage, value in decision.milliseconds.items()},
        "server_timing": dict(timing),
        "planner": {
            "mode": decision.mode,
            "choice": decision.choice,
            "chosen": decision.chosen,
            "gate_threshold": decision.gate_threshold,
            "gate_passed": decision.gate_passed,
            "peak": decision.peak,
            "skipped": list(decision.skipped),
        },
    }
    if wants_details:
        answer["proposals"] = _round(decision.proposals)
        answer["revision"] = None if decision.revision is None else _round(decision.revision)
    return answer


def read_decision(answer: Mapping[str, Any]) -> Decision:
    """The decision of a `decision_answer`. Without details its only candidate is the chunk itself.

    Raises:
        ValueError: It is none.
    """
    try:
        planner, chunk = answer["planner"], np.array(answer["actions"], np.float32)
        revision, threshold, peak = answer.get("revision"), planner["gate_threshold"], planner["peak"]
        choice: Choice = planner["choice"]
        named("choice", choice, get_args(Choice))
        return Decision(
            step=whole("step", answer["step"], 0, 2**62),
            mode=text("mode", planner["mode"], 64),
            proposals=_candidates(answer["proposals"]) if "proposals" in answer else Candidates(actions=chunk[None]),
            choice=choice,
            chosen=whole("chosen", planner["chosen"], 0, 2**31) if "proposals" in answer else 0,
            chunk=ActionChunk(actions=chunk, control_hz=number("control_hz", answer["control_hz"])),
            gate_threshold=None if threshold is None else number("gate_threshold", threshold),
            gate_passed=planner["gate_passed"],
            revision=None if revision is None else _candidates(revision),
            peak=None if peak is None else whole("peak", peak, 0, 2**31),
            milliseconds={name.removesuffix("_ms"): number(name, value) for name, value in answer["policy_timing"].items()},
            skipped=tuple(planner["skipped"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the server's answer is no decision: {type(error).__name__} {error}") from error


def outlook_answer(outlook: Outlook) -> dict[str, Any]:
    """The answer to a question about the future."""
    return {"type": "outlook", "progress": outlook.progress, "frames": outlook.frames, "milliseconds": outlook.milliseconds}


def read_outlook(answer: Mapping[str, Any]) -> Outlook:
    """What `outlook_answer` made. Raises `ValueError` for anything else."""
    frames = answer.get("frames")
    if not isinstance(answer.get("progress"), np.ndarray) or not (frames is None or isinstance(frames, np.ndarray)):
        raise ValueError("the server's answer is no outlook")
    return Outlook(
        progress=answer["progress"], frames=frames, milliseconds=number("milliseconds", answer.get("milliseconds", math.nan))
    )  # fmt: skip


def refusal_answer(refusal: RefusedError) -> dict[str, Any]:
    """Why something is not done. To an observation in openpi's way the text alone is sent."""
    return {"type": "error", "code": refusal.code, "message": str(refusal)}


def read_refusal(answer: Mapping[str, Any] | str) -> RefusedError | None:
    """The refusal that an answer is; None for all other answers."""
    if isinstance(answer, str):
        return RefusedError("malformed", answer)
    if answer.get("type") != "error":
        return None
    code = answer.get("code")
    known: Refusal = cast(Refusal, code) if code in get_args(Refusal) else "internal"
    return RefusedError(known, str(answer.get("message")))


def _round(candidates: Candidates) -> dict[str, Any]:
    return {name: value for name in _ROUND if (value := getattr(candidates, name)) is not None}


def _candidates(fields: Mapping[str, Any]) -> Candidates:
    actions, scores, progress = (fields.get(name) for name in _ROUND)
    for name, value in zip(_ROUND, (actions, scores, progress), strict=True):
        if not (isinstance(value, np.ndarray) or (value is None and name != "actions")):
            raise ValueError(f"candidates' {name} must be an array, got {type(value).__name__}")
    assert actions is not None
    return Candidates(actions=actions, scores=scores, progress=progress)
