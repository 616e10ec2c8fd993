"""Several real processes on this machine, as torchrun would start them, forked off one that has imported everything already."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tau0.train.mesh import Launch

PRELOAD = ["torch", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.checkpoint", "sharded_work", "whole_run_work"]
TIMEOUT_S = 300

Work = Callable[..., None]


def forkserver() -> ForkServerContext:
    """Starts processes as copies of one that has imported everything, where each would import for seconds by itself."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


class Processes:
    """Processes that run `work(launch, folder, *arguments)` together."""

    def __init__(self, world: int, work: Work, folder: Path, *arguments: Any) -> None:
        context = forkserver()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launches = [Launch(rank=rank, world=world, local_rank=rank) for rank in range(world)]
        self._folder = folder
        self._running = [context.Process(target=_run, args=(launch, port, work, folder, arguments)) for launch in launches]
        for process in self._running:
            process.start()

    def kill(self) -> None:
        """SIGKILL to every process, and with one that leads a group to all of the group."""
        for process in self._running:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()

    def finish(self) -> None:
        """Waits for all, and raises `RuntimeError` with what the first one that failed said."""
        for process in self._running:
            process.join(TIMEOUT_S)
        hanging = [process for process in self._running if process.exitcode is None]
        self.kill()
        errors = [path.read_text() for path in sorted(self._folder.glob("error-*"))]
        if errors:
            raise RuntimeError(errors[0])
        assert not hanging
        assert [process.exitcode for process in self._running] == [0] * len(self._running)

    @property
    def are_running(self) -> bool:
        """Whether none has ended."""
        return all(process.is_alive() for process in self._running)


def _run(launch: Launch, port: int, work: Work, folder: Path, arguments: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(launch.rank), "WORLD_SIZE": str(launch.world)}
    error = folder / f"error-{launch.rank}"
    error.unlink(missing_ok=True)
    try:
        work(launch, folder, *arguments)
    except BaseException:
        error.write_text(traceback.format_exc())
        raise SystemExit(1) from None
