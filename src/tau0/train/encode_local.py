"""Workers that are processes of this machine. One that is killed is replaced, and costs the shard it was at."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

import torch

from tau0.interrupts import interrupts_ignored
from tau0.train.encode_crew import Outcome
from tau0.train.encode_worker import EncodeJob, ShardWorker, clear_drafts
from tau0.train.latent_store import ShardTask


@dataclass
class _Member:
    process: Any
    connection: Connection
    task: ShardTask | None = None


class LocalCrew:
    """A `Crew` of processes with one thread each. Use it as a context manager: at its end nobody is left running."""

    def __init__(self, job: EncodeJob, num_workers: int) -> None:
        self._job, self._num_workers = job, num_workers
        self._members: list[_Member] = []

    @property
    def num_idle(self) -> int:
        """See `Crew`."""
        return self._num_workers - self.num_busy

    @property
    def num_busy(self) -> int:
        """See `Crew`."""
        return sum(member.task is not None for member in self._members)

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [member.process.pid for member in self._members]

    def give(self, task: ShardTask) -> None:
        """See `Crew`."""
        idle = [member for member in self._members if member.task is None and member.process.is_alive()]
        member = idle[0] if idle else self._hired()
        member.task = task
        try:
            member.connection.send(task)
        except OSError:
            return  # it died meanwhile: waiting for it says so

    def wait(self) -> Outcome:
        """See `Crew`."""
        busy = [member for member in self._members if member.task is not None]
        ready = wait([member.connection for member in busy])
        member = next(member for member in busy if member.connection in ready)
        assert member.task is not None
        task, member.task = member.task, None
        try:
            answer = member.connection.recv()
        except (EOFError, OSError):
            return Outcome(task=task, done=None, reason=self._buried(member, task))
        if isinstance(answer, Exception):
            raise answer
        return Outcome(task=task, done=answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for member in self._members:
            member.process.kill()
        for member in self._members:
            member.process.join()
            member.connection.close()
            if member.task is not None:
                clear_drafts(member.task)
        self._members.clear()

    def _hired(self) -> _Member:
        """A new process. Ctrl-C is the parent's business."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(self._job, theirs), daemon=True)
        with interrupts_ignored():
            process.start()
        theirs.close()
        member = _Member(process, ours)
        self._members.append(member)
        return member

    def _buried(self, member: _Member, task: ShardTask) -> str:
        """Removes one that died, and what it left half done. Says what of."""
        member.process.join()
        member.connection.close()
        self._members.remove(member)
        clear_drafts(task)
        code = member.process.exitcode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _work(job: EncodeJob, tasks: Connection) -> None:
    """One process: shards in, answers out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    worker = ShardWorker(job)
    while True:
        try:
            task = tasks.recv()
        except (EOFError, OSError):
            return
        try:
            answer: object = worker.encode(task)
        except Exception as error:
            answer = error
        tasks.send(answer)
