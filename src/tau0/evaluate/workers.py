"""Where episodes run: in this process, or in worker processes that are fed one job at a time."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

import torch

from tau0.evaluate.delayed import DelayedSource, run_delayed_episode
from tau0.evaluate.episodes import Agent, run_episode
from tau0.evaluate.recorder import TraceRecorder
from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.trace import write_trace
from tau0.interrupts import interrupts_ignored
from tau0.worlds.protocol import World


class AgentSource(Protocol):
    """How a worker process makes its agent. Picklable; a frozen dataclass that names a checkpoint and settings will do."""

    @property
    def mode(self) -> str:
        """The label of this agent in results and tables. No two sources of one run share it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of the checkpoint and of every setting that changes the agent's behaviour."""
        ...

    @property
    def scored_by(self) -> str:
        """A hash of all that the scores in its decisions depend on; empty where there are none."""
        ...

    def build(self) -> Agent:
        """A ready agent. Called once in each worker."""
        ...


MakeWorld = Callable[[str, int], World]
"""Makes the world of (task, max_steps). Picklable: a function of a module, or a frozen dataclass with `__call__`."""


class EvaluationError(RuntimeError):
    """An episode failed, or a worker died. What was finished is kept."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One initial state to be met by every mode; `instruction` None leaves the words to the world."""

    task: str
    seed: int
    instruction: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One episode under the mode of `sources[source]`."""

    episode: Episode
    source: int


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """What a worker says instead of a record."""

    job: Job
    reason: str


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is kept of every episode beside its record.

    Attributes:
        folder: Gets a trace an episode, in a folder named after its task, seed and mode, and its wording where that is not the world's.
        frame_every: Control steps between two frames of real video; 0 keeps decisions alone.
    """

    folder: Path
    frame_every: int = 0

    def trace_folder(self, episode: Episode, mode: str) -> Path:
        """Where the trace of an episode goes."""
        said = "" if episode.instruction is None else f"-said-{hashlib.sha256(episode.instruction.encode()).hexdigest()[:8]}"
        return self.folder / f"episode-{episode.task}-{episode.seed:04d}-{mode}{said}"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that a worker needs to know, sent to it once."""

    make_world: MakeWorld
    sources: tuple[AgentSource, ...]
    max_steps: int
    commit: str | None
    recording: Recording | None = None


class _Bench:
    """Runs jobs one after another with every agent and one world."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._agents: dict[int, Agent] = {}
        self._world: World | None = None
        self._task = ""

    def run(self, job: Job) -> EpisodeRecord:
        """The record of one episode."""
        source, episode = self._setup.sources[job.source], job.episode
        if job.source not in self._agents:
            self._agents[job.source] = source.build()
        world = self._world_of(episode.task)
        recording, recorder = self._setup.recording, None
        if recording is not None:
            recorder = TraceRecorder(world.embodiment, recording.frame_every, source.scored_by)
        agent, given = self._agents[job.source], (episode.seed, episode.instruction, self._setup.max_steps, recorder)
        is_late = isinstance(source, DelayedSource)
        result = run_delayed_episode(world, agent, source, *given) if is_late else run_episode(world, agent, *given)
        result = replace(result, task=episode.task, mode=source.mode)
        if recording is not None and recorder is not None:
            write_trace(recording.trace_folder(episode, source.mode), recorder.trace(result))
        return EpisodeRecord(
            result=result,
            fingerprint=source.fingerprint,
            requested_instruction=episode.instruction,
            max_steps=self._setup.max_steps,
            commit=self._setup.commit,
        )

    def _world_of(self, task: str) -> World:
        """The task's world. The last one is closed first: a process holds one renderer at a time."""
        if self._world is None or self._task != task:
            self.close()
            self._world, self._task = self._setup.make_world(task, self._setup.max_steps), task
        return self._world

    def close(self) -> None:
        """Releases the world."""
        if self._world is not None:
            self._world.close()
            self._world = None


def run_here(setup: Setup, jobs: Sequence[Job]) -> Generator[EpisodeRecord, None, None]:
    """Records in order, from this process; the readable twin of `run_parallel`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.closing(_Bench(setup)) as bench:
        try:
            for job in jobs:
                yield bench.run(job)
        finally:
            torch.set_num_threads(threads)


def run_parallel(setup: Setup, jobs: Sequence[Job], workers: int) -> Generator[EpisodeRecord, None, None]:
    """Records as they come, from worker processes. Leaving the loop for any reason ends the workers at once."""
    context = multiprocessing.get_context("spawn")
    waiting = deque(jobs)
    pipes: dict[Connection, BaseProcess] = {}
    busy: dict[Connection, Job] = {}
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, setup), daemon=True)
            with interrupts_ignored():
                process.start()
            theirs.close()
            pipes[ours] = process
            _hand_out(ours, waiting, busy)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                record = _receive(pipe, busy[pipe], setup)
                _hand_out(pipe, waiting, busy)
                yield record
    finally:
        for pipe, process in pipes.items():
            pipe.close()
            process.terminate()
            process.join()


def _hand_out(pipe: Connection, waiting: deque[Job], busy: dict[Connection, Job]) -> None:
    busy.pop(pipe, None)
    if waiting:
        busy[pipe] = waiting.popleft()
        with contextlib.suppress(BrokenPipeError):
            pipe.send(busy[pipe])


def _receive(pipe: Connection, job: Job, setup: Setup) -> EpisodeRecord:
    """A worker's record; raises `EvaluationError` when the episode failed or the worker died."""
    label = f"{job.episode.task}, seed {job.episode.seed}, mode {setup.sources[job.source].mode!r}"
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        message = f"a worker died during {label}; most often there was not enough memory. Finished episodes are kept: use fewer workers"
        raise EvaluationError(message) from error
    if isinstance(answer, _Failure):
        raise EvaluationError(f"{label} failed; finished episodes are kept.\n{answer.reason}")
    assert isinstance(answer, EpisodeRecord)
    return answer


def _work(pipe: Connection, setup: Setup) -> None:
    """A worker's life: jobs in, records out, until the pipe closes. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with contextlib.closing(_Bench(setup)) as bench, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            job: Job = pipe.recv()
            try:
                pipe.send(bench.run(job))
            except Exception:
                pipe.send(_Failure(job=job, reason=traceback.format_exc()))
