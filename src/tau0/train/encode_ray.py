"""Workers that are actors of a Ray cluster. All of its machines must see datasets and cache under the same names.

Ray moves our own objects between our own processes by pickling them, as starting a process does; nothing that is read from a file is.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tau0.train.encode_crew import Outcome
from tau0.train.encode_worker import EncodeJob, ShardWorker, clear_drafts
from tau0.train.latent_store import ShardTask

LOCAL = "local"


@dataclass
class _Member:
    actor: Any
    task: ShardTask | None = None
    answer: Any = None


class RayCrew:
    """A `Crew` of Ray actors, one processor core each, or one GPU. Use it as a context manager: at its end no actor is left.

    An actor that dies, or whose machine does, is replaced, and costs the shard it was at.
    """

    def __init__(self, job: EncodeJob, num_workers: int, address: str = LOCAL) -> None:
        """Connects when used.

        Args:
            job: Of the source.
            num_workers: Actors.
            address: Of the cluster, such as ray://host:10001 or auto; "local" starts one on this machine.

        Raises:
            ModuleNotFoundError: When the extra `scale` is not installed.
        """
        self._ray = _ray()
        self._job, self._num_workers, self._address = job, num_workers, address
        self._members: list[_Member] = []
        self._is_ours = False

    @property
    def num_idle(self) -> int:
        """See `Crew`."""
        return self._num_workers - self.num_busy

    @property
    def num_busy(self) -> int:
        """See `Crew`."""
        return sum(member.task is not None for member in self._members)

    @property
    def actors(self) -> list[Any]:
        """Ray's handles of the actors."""
        return [member.actor for member in self._members]

    def give(self, task: ShardTask) -> None:
        """See `Crew`."""
        idle = next((member for member in self._members if member.task is None), None)
        member = self._hired() if idle is None else idle
        member.task, member.answer = task, member.actor.encode.remote(task)

    def wait(self) -> Outcome:
        """See `Crew`."""
        busy = {member.answer: member for member in self._members if member.task is not None}
        (ready, *_), _ = self._ray.wait(list(busy), num_returns=1)
        member = busy[ready]
        assert member.task is not None
        task, member.task, member.answer = member.task, None, None
        try:
            return Outcome(task=task, done=self._ray.get(ready))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayActorError as error:
            self._members.remove(member)
            clear_drafts(task)
            return Outcome(task=task, done=None, reason=str(error).strip().splitlines()[0])

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            self._is_ours = True
            if self._address == LOCAL:
                self._ray.init(num_cpus=self._num_workers, include_dashboard=False, log_to_driver=False)
            else:
                self._ray.init(address=self._address, log_to_driver=False)
        self._shared_job = self._ray.put(self._job)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for member in self._members:
            self._ray.kill(member.actor)
        if self._is_ours:
            self._ray.shutdown()
        for member in self._members:
            if member.task is not None:
                clear_drafts(member.task)
        self._members.clear()

    def _hired(self) -> _Member:
        gpus = 0 if self._job.device == "cpu" else 1
        member = _Member(self._ray.remote(num_cpus=1, num_gpus=gpus)(ShardWorker).remote(self._shared_job))
        self._members.append(member)
        return member


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a cluster was asked for and Ray is not installed. Run: pip install 'tau0-wm[scale]'") from None
