"""One episode on disk and back: every frame that was kept and every `Decision`, complete.

A trace is a folder: `trace.json` for what people read, `arrays.safetensors` for what they do not. Never pickle.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tau0.contract import ActionChunk, Candidates, Choice, Decision, Pixels
from tau0.evaluate.trace_reader import (
    ARRAYS_NAME,
    JSON_NAME,
    PICTURES,
    TraceError,
    TraceReader,
    num_frames,
    read_arrays,
    read_fields,
    read_small_arrays,
)

FORMAT = "tau0-trace-1"


@dataclass(frozen=True, kw_only=True)
class EpisodeTrace:
    """What happened in one episode, and what was considered on the way.

    Attributes:
        task: The world's name of the task.
        instruction: What the robot was told, in words.
        seed: Which initial state.
        mode: How the agent chose, such as "single", "rcs" or "full".
        success: Whether the task was solved.
        num_steps: Control steps taken.
        seconds: Wall time of the episode.
        frames: Real video, uint8 (t, v, h, w, 3), sampled every few control steps.
        frame_steps: The control step of each frame, ascending, shape (t,).
        decisions: In the order in which they were made.
        scored_by: Of what the scores of its decisions depend on, a hash (see `tau0.plan.spec`); empty where nobody said.
        cameras: One name per view; empty where nobody named them.
        action_names: One name per action dimension; empty where nobody named them.
    """

    task: str
    instruction: str
    seed: int
    mode: str
    success: bool
    num_steps: int
    seconds: float
    frames: Pixels
    frame_steps: NDArray[np.int64]
    decisions: tuple[Decision, ...]
    cameras: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    scored_by: str = ""

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise TraceError(f"frames are {self.frames.dtype} {self.frames.shape}, expected uint8 (t, v, h, w, 3)")
        if self.frame_steps.shape != (len(self.frames),):
            raise TraceError(f"frame_steps has shape {self.frame_steps.shape}, expected ({len(self.frames)},): one step per frame")
        if self.cameras and len(self.cameras) != self.frames.shape[1]:
            raise TraceError(f"cameras names {len(self.cameras)} views {self.cameras}, but frames hold {self.frames.shape[1]}")


def write_trace(folder: Path, trace: EpisodeTrace) -> Path:
    """Writes `trace` to `folder`, whole or not at all, replacing what was there. Returns `folder`.

    Raises:
        OSError: The place cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".{folder.name}.{os.getpid()}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        arrays = _arrays_of(trace)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, unfinished / ARRAYS_NAME)
        (unfinished / JSON_NAME).write_text(json.dumps(_json_of(trace), indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        if folder.exists():
            replaced = folder.parent / f".{folder.name}.{os.getpid()}.replaced"
            folder.rename(replaced)
            unfinished.rename(folder)
            shutil.rmtree(replaced)
        else:
            unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def read_trace(folder: Path) -> EpisodeTrace:
    """The trace that `write_trace` left in `folder`.

    Raises:
        TraceError: A file is missing or damaged, or a field is absent or of the wrong type or shape.
    """
    return _read(folder, read_fields(folder / JSON_NAME), read_arrays(folder / ARRAYS_NAME))


def read_trace_blindly(folder: Path) -> EpisodeTrace:
    """The trace in `folder` without any picture, real or imagined: a hundredth of the bytes. Raises as `read_trace`."""
    fields = read_fields(folder / JSON_NAME)
    for decision in fields.get("decisions", []) if isinstance(fields, dict) else []:
        for stage in ("proposals", "revision"):
            if isinstance(decision, dict) and isinstance(decision.get(stage), list):
                decision[stage] = [name for name in decision[stage] if name != PICTURES]
    return _read(folder, fields, read_small_arrays(folder / ARRAYS_NAME))


def _read(folder: Path, fields: Any, arrays: Mapping[str, NDArray[Any]]) -> EpisodeTrace:
    path = folder / JSON_NAME
    reader = TraceReader(path, fields, arrays)
    if (version := reader.get("format", str)) != FORMAT:
        raise TraceError(f"{path}: field 'format' is {version!r}, expected {FORMAT!r}")
    try:
        return EpisodeTrace(
            task=reader.get("task", str),
            instruction=reader.get("instruction", str),
            seed=reader.get("seed", int),
            mode=reader.get("mode", str),
            success=reader.get("success", bool),
            num_steps=reader.get("num_steps", int),
            seconds=reader.number("seconds"),
            frames=reader.array("frames", np.uint8, 5),
            frame_steps=reader.array("frame_steps", np.int64, 1),
            decisions=tuple(_read_decision(reader.child(f"decisions[{i}]", item)) for i, item in enumerate(reader.get("decisions", list))),
            cameras=tuple(reader.get("cameras", list)),
            action_names=tuple(reader.get("action_names", list)),
            scored_by=reader.known("scored_by", str, ""),
        )
    except TraceError as error:
        raise error if str(path.parent) in str(error) else TraceError(f"{path.parent}: {error}") from None


def read_traces(folder: Path) -> tuple[EpisodeTrace, ...]:
    """Every trace in the `episode-*` folders of `folder`, by name.

    Raises:
        TraceError: There is none, or one is malformed.
    """
    return tuple(read_trace(path) for path in trace_folders(folder))


def trace_folders(folder: Path) -> tuple[Path, ...]:
    """The `episode-*` folders in `folder`, by name. Raises `TraceError` when there is none."""
    found = sorted(path for path in folder.glob("episode-*") if path.is_dir())
    if not found:
        raise TraceError(f"{folder} holds no folder named episode-*; run `tau0 demo` to record some")
    return tuple(found)


def has_video(folder: Path) -> bool:
    """Whether the trace in `folder` holds real video. Raises `TraceError` when its arrays cannot be read."""
    return num_frames(folder / ARRAYS_NAME) > 0


def has_outcomes(folder: Path) -> bool:
    """Whether the trace in `folder` says what every candidate of every decision led to. Raises `TraceError` when it cannot be read."""
    fields = read_fields(folder / JSON_NAME)
    decisions = fields.get("decisions", []) if isinstance(fields, dict) else []
    return bool(decisions) and all(isinstance(one, dict) and "outcomes" in (one.get("proposals") or ()) for one in decisions)


def _json_of(trace: EpisodeTrace) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "task": trace.task,
        "instruction": trace.instruction,
        "seed": int(trace.seed),
        "mode": trace.mode,
        "success": bool(trace.success),
        "num_steps": int(trace.num_steps),
        "seconds": _plain(trace.seconds),
        "cameras": list(trace.cameras),
        "action_names": list(trace.action_names),
        "scored_by": trace.scored_by,
        "decisions": [_json_of_decision(decision) for decision in trace.decisions],
    }


def _json_of_decision(decision: Decision) -> dict[str, Any]:
    return {
        "step": int(decision.step),
        "mode": decision.mode,
        "choice": decision.choice,
        "chosen": int(decision.chosen),
        "peak": None if decision.peak is None else int(decision.peak),
        "gate_threshold": None if decision.gate_threshold is None else _plain(decision.gate_threshold),
        "gate_passed": None if decision.gate_passed is None else bool(decision.gate_passed),
        "control_hz": _plain(decision.chunk.control_hz),
        "milliseconds": {stage: _plain(value) for stage, value in decision.milliseconds.items()},
        "skipped": list(decision.skipped),
        "expert_steps": None if decision.expert_steps is None else _plain(decision.expert_steps),
        "proposals": sorted(_fields_of(decision.proposals)),
        "revision": None if decision.revision is None else sorted(_fields_of(decision.revision)),
    }


def _plain(value: float) -> float | str:
    """A JSON number, or the word for a value that JSON has no number for (a gate of minus infinity lets everything pass)."""
    return float(value) if math.isfinite(value) else str(float(value))


def _fields_of(candidates: Candidates) -> dict[str, NDArray[Any]]:
    names = ("actions", "scores", "progress", "outcomes")
    present = {name: getattr(candidates, name) for name in names}
    arrays: dict[str, NDArray[Any]] = {name: np.asarray(array, np.float32) for name, array in present.items() if array is not None}
    return arrays if candidates.frames is None else {**arrays, "frames": np.asarray(candidates.frames, np.uint8)}


def _arrays_of(trace: EpisodeTrace) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"frames": trace.frames, "frame_steps": np.asarray(trace.frame_steps, np.int64)}
    for i, decision in enumerate(trace.decisions):
        arrays[f"decisions[{i}].chunk"] = np.asarray(decision.chunk.actions, np.float32)
        for stage, candidates in (("proposals", decision.proposals), ("revision", decision.revision)):
            if candidates is not None:
                arrays |= {f"decisions[{i}].{stage}.{name}": array for name, array in _fields_of(candidates).items()}
    return arrays


def _read_decision(reader: TraceReader) -> Decision:
    choice = reader.get("choice", str)
    if choice not in get_args(Choice):
        raise TraceError(f"{reader.path}: field {reader.name('choice')!r} is {choice!r}, expected one of {get_args(Choice)}")
    times = reader.child("milliseconds", reader.get("milliseconds", dict))
    revised = reader.optional("revision", list)
    proposals = _read_candidates(reader.child("proposals", {}), reader.get("proposals", list))
    revision = None if revised is None else _read_candidates(reader.child("revision", {}), revised)
    chosen, count = reader.get("chosen", int), len((revision if choice == "revised" and revision else proposals).actions)
    if not 0 <= chosen < count:
        raise TraceError(f"{reader.path}: field {reader.name('chosen')!r} is {chosen}, expected 0 to {count - 1}")
    return Decision(
        step=reader.get("step", int),
        mode=reader.get("mode", str),
        proposals=proposals,
        choice=choice,
        chosen=chosen,
        chunk=ActionChunk(actions=reader.array("chunk", np.float32, 2), control_hz=reader.number("control_hz")),
        gate_threshold=None if reader.optional("gate_threshold", object) is None else reader.number("gate_threshold"),
        gate_passed=reader.optional("gate_passed", bool),
        revision=revision,
        peak=reader.optional("peak", int),
        milliseconds={stage: times.number(stage) for stage in reader.get("milliseconds", dict)},
        skipped=tuple(reader.known("skipped", list, [])),
        expert_steps=None if reader.known("expert_steps", object, None) is None else reader.number("expert_steps"),
    )


def _read_candidates(reader: TraceReader, present: list[str]) -> Candidates:
    return Candidates(
        actions=reader.array("actions", np.float32, 3),
        scores=reader.array("scores", np.float32, 1) if "scores" in present else None,
        progress=reader.array("progress", np.float32, 2) if "progress" in present else None,
        frames=reader.array("frames", np.uint8, 6) if "frames" in present else None,
        outcomes=reader.array("outcomes", np.float32, 1) if "outcomes" in present else None,
    )
