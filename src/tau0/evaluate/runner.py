"""A suite of episodes: tasks x seeds x modes, in parallel processes, resumable, with the same seeds for every mode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tau0.evaluate.records import (
    EpisodeKey,
    EpisodeRecord,
    OfCheckpoint,
    RecordsError,
    append_record,
    check_writable,
    read_records,
    source_commit,
)
from tau0.evaluate.workers import AgentSource, Episode, Job, MakeWorld, Recording, Setup, run_here, run_parallel

OnResult = Callable[[EpisodeRecord, int, int], None]
"""Told of each finished episode: (record, episodes done, episodes in all). Episodes of an earlier run count as done."""


def episodes_of(tasks: Sequence[str], seeds: Sequence[int], instruction: str | None = None) -> list[Episode]:
    """Every task with every seed, task by task."""
    return [Episode(task=task, seed=seed, instruction=instruction) for task in tasks for seed in seeds]


def evaluate(
    episodes: Sequence[Episode],
    sources: Sequence[AgentSource],
    make_world: MakeWorld,
    max_steps: int,
    out: Path,
    workers: int = 1,
    on_result: OnResult | None = None,
    recording: Recording | None = None,
) -> list[EpisodeRecord]:
    """The records of every episode under every mode, appended to `out` as each one ends.

    Episodes that `out` already holds are not run again, so the same command goes on after an interruption (which keeps every
    finished episode). All modes meet the same initial states and the same noise, whatever the number of workers. Each worker uses
    one thread of torch, holds every agent, and one world at a time.

    Args:
        episodes: What to run, best ordered by task.
        sources: One per mode.
        make_world: Makes a task's world in the worker.
        max_steps: Control steps allowed per episode.
        out: A JSON-lines file, made if missing.
        workers: Processes. 1 runs everything in this process.
        on_result: Called in this process after each episode.
        recording: What is kept of the episodes that are run now, beside their records.

    Returns:
        Old and new records of this suite, in the order of `episodes`, then of `sources`.

    Raises:
        ValueError: When modes repeat, or a number is below 1.
        RecordsError: When `out` holds episodes of another checkpoint or configuration, or cannot be written.
        EvaluationError: (of `tau0.evaluate.workers`) When an episode fails or a worker dies.
    """
    _check_arguments(sources, max_steps, workers)
    setup = Setup(make_world=make_world, sources=tuple(sources), max_steps=max_steps, commit=source_commit(), recording=recording)
    wanted = {_key(episode, source): Job(episode=episode, source=i) for episode in episodes for i, source in enumerate(sources)}
    finished = {record.key: record for record in _earlier_records(out, setup) if record.key in wanted}
    check_writable(out)
    todo = [job for key, job in wanted.items() if key not in finished]
    checkpoints = _checkpoints(setup)
    results = run_here(setup, todo) if workers == 1 else run_parallel(setup, todo, min(workers, len(todo)))
    with contextlib.closing(results):
        for result in results:
            record = replace(result, checkpoint=checkpoints[result.result.mode])
            append_record(out, record)
            finished[record.key] = record
            if on_result is not None:
                on_result(record, len(finished), len(wanted))
    return [finished[key] for key in wanted]


def _check_arguments(sources: Sequence[AgentSource], max_steps: int, workers: int) -> None:
    modes = [source.mode for source in sources]
    if not modes or len(set(modes)) < len(modes):
        raise ValueError(f"need at least one mode and no mode twice, got {modes}")
    if max_steps < 1 or workers < 1:
        raise ValueError(f"max_steps and workers must be at least 1, got {max_steps} and {workers}")


def _key(episode: Episode, source: AgentSource) -> EpisodeKey:
    return EpisodeKey(
        task=episode.task,
        seed=episode.seed,
        mode=source.mode,
        fingerprint=source.fingerprint,
        requested_instruction=episode.instruction,
    )


def _checkpoints(setup: Setup) -> dict[str, str | None]:
    """By mode, the hash of the checkpoint's files; None for an agent that has none."""
    return {source.mode: source.checkpoint_hash if isinstance(source, OfCheckpoint) else None for source in setup.sources}


def _earlier_records(out: Path, setup: Setup) -> list[EpisodeRecord]:
    """What `out` holds already; raises `RecordsError` when it cannot be continued by this run."""
    records = read_records(out) if out.exists() else []
    by_mode = {source.mode: source.fingerprint for source in setup.sources}
    ours = sorted({checkpoint for checkpoint in _checkpoints(setup).values() if checkpoint})
    advice = "Name another file, or remove this one"
    for record in records:
        if record.checkpoint and ours and record.checkpoint not in ours:
            raise RecordsError(
                f"{out} holds episodes of checkpoint {record.checkpoint}, this run is of {' and '.join(ours)}: use another --out, "
                "since a table compares what one file holds"
            )
        mode = record.result.mode
        wanted = by_mode.get(mode, record.fingerprint)
        if record.fingerprint != wanted:
            raise RecordsError(
                f"{out} holds {mode!r} episodes of checkpoint and settings {record.fingerprint}, this run is {wanted}. {advice}"
            )
        if record.max_steps != setup.max_steps:
            raise RecordsError(f"{out} holds episodes of at most {record.max_steps} steps, this run allows {setup.max_steps}. {advice}")
    return records
