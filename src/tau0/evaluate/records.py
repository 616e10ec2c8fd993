"""Evaluation results on disk: one JSON line per episode, appended whole, read back on the next run."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol, runtime_checkable

import tau0
from tau0.evaluate.episodes import EpisodeResult


@runtime_checkable
class OfCheckpoint(Protocol):
    """The source of an agent that has a checkpoint."""

    @property
    def checkpoint_hash(self) -> str:
        """Of its files alone, whatever the settings."""
        ...


class RecordsError(ValueError):
    """A results file cannot be read, or belongs to another evaluation."""


@dataclass(frozen=True, kw_only=True)
class EpisodeKey:
    """What identifies an episode of a suite: two records with equal keys are the same experiment."""

    task: str
    seed: int
    mode: str
    fingerprint: str
    requested_instruction: str | None


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One line of a results file.

    Attributes:
        result: What happened. Its `mode` is the label under which the agent was evaluated.
        fingerprint: Of the checkpoint and of every setting that changes its behaviour.
        requested_instruction: The words asked for; None where the world chose its own.
        max_steps: Control steps that were allowed.
        version: Of this package.
        commit: Of this repository, with "-dirty" where files were changed; None outside a checkout.
        checkpoint: A hash of the checkpoint's files alone; None where the agent has none, and in records of earlier versions.
    """

    result: EpisodeResult
    fingerprint: str
    requested_instruction: str | None
    max_steps: int
    version: str = tau0.__version__
    commit: str | None = None
    checkpoint: str | None = None

    @property
    def key(self) -> EpisodeKey:
        """What identifies this episode."""
        return EpisodeKey(
            task=self.result.task,
            seed=self.result.seed,
            mode=self.result.mode,
            fingerprint=self.fingerprint,
            requested_instruction=self.requested_instruction,
        )

    def to_json(self) -> str:
        """One line of JSON, flat, without its line end."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "result"}
        return json.dumps(asdict(self.result) | own, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> EpisodeRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: When the line is not JSON.
            TypeError: When a field is missing or unknown.
        """
        values = json.loads(line)
        if not isinstance(values, dict):
            raise TypeError(f"expected a JSON object, got {line[:80]!r}")
        result_names = {f.name for f in fields(EpisodeResult)}
        result = EpisodeResult(**{name: value for name, value in values.items() if name in result_names})
        return cls(result=result, **{name: value for name, value in values.items() if name not in result_names})


def read_records(path: Path) -> list[EpisodeRecord]:
    """Every complete record of a file, in the order written. A last line cut off by a power failure is left out.

    Raises:
        FileNotFoundError: When there is no such file.
        RecordsError: When the file is no text, or a complete line is not a record of this program; the message names the line.
    """
    data = path.read_bytes()
    try:
        whole = data[: data.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path} is no text, expected the episodes that `tau0 evaluate` wrote: {error}") from None
    records = []
    for number, line in enumerate(whole.split("\n")[:-1], start=1):
        try:
            records.append(EpisodeRecord.from_json(line))
        except (ValueError, TypeError) as error:
            raise RecordsError(f"{path}, line {number}, is not an episode of `tau0 evaluate`: {error}") from error
    return records


def check_writable(path: Path) -> None:
    """Makes the folder and the file if missing, so that a long run does not end in an error that was there from the start.

    Raises:
        RecordsError: When that cannot be done; the message says why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise RecordsError(f"cannot write results to {path}: {error.strerror}. Name a file in a folder that is yours to write") from error


def append_record(path: Path, record: EpisodeRecord) -> None:
    """Adds one line, on disk when this returns. A half-written last line is removed first.

    Raises:
        RecordsError: When the file cannot be written, or the disk is full; what it held is kept.
    """
    line = record.to_json().encode() + b"\n"
    try:
        with path.open("a+b") as file:
            _drop_partial_line(file.fileno())
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordsError(f"cannot add to {path}: {error.strerror}. Finished episodes are kept; the same command goes on") from error


def _drop_partial_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    kept = os.pread(descriptor, size, 0).rfind(b"\n") + 1
    os.ftruncate(descriptor, kept)


@functools.cache
def source_commit() -> str | None:
    """The commit that this package runs from, with "-dirty" where files were changed; None for an installed package."""
    package = Path(tau0.__file__).resolve().parent
    try:
        top = _git(package, "rev-parse", "--show-toplevel")
        if package.parent.parent != Path(top).resolve():
            return None
        return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
