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
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tau0.contract import ActionChunk, Candidates, Choice, Decision, Pixels

FORMAT = "tau0-trace-1"
JSON_NAME = "trace.json"
ARRAYS_NAME = "arrays.safetensors"


class TraceError(ValueError):
    """A trace on disk cannot be read. The message names the file, the field, and what was expected."""


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
    path = folder / JSON_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TraceError(f"{folder} holds no {JSON_NAME}; is it a trace folder?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} is not JSON: {error}") from None
    reader = _Reader(path, fields, _read_arrays(folder / ARRAYS_NAME))
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
    found = sorted(path for path in folder.glob("episode-*") if path.is_dir())
    if not found:
        raise TraceError(f"{folder} holds no folder named episode-*; run `tau0 demo` to record some")
    return tuple(read_trace(path) for path in found)


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


def _read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise TraceError(f"{path.parent} holds no {ARRAYS_NAME}; the trace is incomplete") from None
    except SafetensorError as error:
        raise TraceError(f"{path} is not a safetensors file: {error}") from None


class _Reader:
    """Typed access to the JSON fields and arrays of a trace, with errors that say where."""

    def __init__(self, path: Path, fields: Any, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> None:
        if not isinstance(fields, dict):
            raise TraceError(f"{path}: {f'field {prefix!r}' if prefix else 'the file'} is a {type(fields).__name__}, expected an object")
        self._path, self._fields, self._arrays, self._prefix = path, fields, arrays, prefix

    def child(self, name: str, fields: Any) -> _Reader:
        return _Reader(self._path, fields, self._arrays, self.name(name))

    def name(self, key: str) -> str:
        return f"{self._prefix}.{key}" if self._prefix else key

    def get(self, key: str, kind: type[Any]) -> Any:
        if key not in self._fields:
            raise TraceError(f"{self._path}: field {self.name(key)!r} is missing")
        value = self._fields[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TraceError(f"{self._path}: field {self.name(key)!r} is {value!r}, expected {kind.__name__}")
        return value

    def optional(self, key: str, kind: type[Any]) -> Any:
        return None if key in self._fields and self._fields[key] is None else self.get(key, kind)

    def known(self, key: str, kind: type[Any], otherwise: Any) -> Any:
        """A field that older traces do not have."""
        return self.get(key, kind) if key in self._fields else otherwise

    def number(self, key: str) -> float:
        try:
            return float(self._fields[key])
        except KeyError:
            raise TraceError(f"{self._path}: field {self.name(key)!r} is missing") from None
        except (TypeError, ValueError):
            raise TraceError(f"{self._path}: field {self.name(key)!r} is {self._fields[key]!r}, expected a number") from None

    def array(self, key: str, dtype: type[np.generic], ndim: int) -> NDArray[Any]:
        path = self._path.parent / ARRAYS_NAME
        if self.name(key) not in self._arrays:
            raise TraceError(f"{path}: field {self.name(key)!r} is missing")
        array = self._arrays[self.name(key)]
        if array.dtype != dtype or array.ndim != ndim:
            wanted = f"{dtype.__name__} with {ndim} dimensions"
            raise TraceError(f"{path}: field {self.name(key)!r} is {array.dtype} of shape {array.shape}, expected {wanted}")
        return array


def _read_decision(reader: _Reader) -> Decision:
    choice = reader.get("choice", str)
    if choice not in get_args(Choice):
        raise TraceError(f"{reader._path}: field {reader.name('choice')!r} is {choice!r}, expected one of {get_args(Choice)}")
    times = reader.child("milliseconds", reader.get("milliseconds", dict))
    revised = reader.optional("revision", list)
    proposals = _read_candidates(reader.child("proposals", {}), reader.get("proposals", list))
    revision = None if revised is None else _read_candidates(reader.child("revision", {}), revised)
    chosen, count = reader.get("chosen", int), len((revision if choice == "revised" and revision else proposals).actions)
    if not 0 <= chosen < count:
        raise TraceError(f"{reader._path}: field {reader.name('chosen')!r} is {chosen}, expected 0 to {count - 1}")
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


def _read_candidates(reader: _Reader, present: list[str]) -> Candidates:
    return Candidates(
        actions=reader.array("actions", np.float32, 3),
        scores=reader.array("scores", np.float32, 1) if "scores" in present else None,
        progress=reader.array("progress", np.float32, 2) if "progress" in present else None,
        frames=reader.array("frames", np.uint8, 6) if "frames" in present else None,
        outcomes=reader.array("outcomes", np.float32, 1) if "outcomes" in present else None,
    )
