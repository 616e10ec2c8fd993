"""The one thread that owns the model, and the bounded queue in front of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tau0.serve.protocol import RefusedError

Result = TypeVar("Result")


class AbandonedError(Exception):
    """Whoever asked went away before the answer."""


@dataclass(frozen=True, kw_only=True)
class Done(Generic[Result]):
    """What a piece of work returned, and how long it waited and worked, in milliseconds."""

    result: Result
    queue_ms: float
    work_ms: float


class Engine:
    """Runs work in the order in which it came. Nobody waits twice: a connection has one piece of work at a time, so turns are fair."""

    def __init__(self, max_waiting: int, query_s: float) -> None:
        """Accepts `max_waiting` pieces of work at once, the running one included; each may wait `query_s` for its turn."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tau0-model")
        self._max_waiting, self._query_s = max_waiting, query_s
        self.waiting = 0

    async def run(self, work: Callable[[], Result], abandoned: asyncio.Future[Any] | None = None) -> Done[Result]:
        """What the work returns. When `abandoned` is done first, work that has not begun is dropped.

        Raises:
            RefusedError: "busy" at once when too many wait, "timeout" when its turn did not come.
            AbandonedError: Nobody waits for it any more.
        """
        if self.waiting >= self._max_waiting:
            raise RefusedError("busy", f"{self.waiting} queries are waiting, which is the limit of this server; ask again later")
        loop, came = asyncio.get_running_loop(), time.perf_counter()
        began: asyncio.Future[None] = loop.create_future()

        def timed() -> Done[Result]:
            started = time.perf_counter()
            loop.call_soon_threadsafe(_settle, began)
            result = work()
            return Done(result=result, queue_ms=1000 * (started - came), work_ms=1000 * (time.perf_counter() - started))

        self.waiting += 1
        job = self._pool.submit(timed)
        job.add_done_callback(lambda _: self._finished(loop))
        return await self._outcome(job, began, abandoned)

    async def _outcome(self, job: Future[Done[Result]], began: asyncio.Future[None], abandoned: asyncio.Future[Any] | None) -> Done[Result]:
        answer = asyncio.wrap_future(job)
        ends = {answer, *([] if abandoned is None else [abandoned])}
        try:
            await asyncio.wait({began, *ends}, timeout=self._query_s, return_when=asyncio.FIRST_COMPLETED)
            if not began.done() and not answer.done() and job.cancel():
                if abandoned is not None and abandoned.done():
                    raise AbandonedError
                raise RefusedError("timeout", f"the model was busy with others for {self._query_s:g} s; ask again later")
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise AbandonedError
            return answer.result()
        finally:
            began.cancel()
            answer.cancel()

    def _finished(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._one_less)

    def _one_less(self) -> None:
        self.waiting -= 1

    def close(self) -> None:
        """Lets the running work end, and drops what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
