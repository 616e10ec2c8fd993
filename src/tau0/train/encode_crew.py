"""Who encodes: the bookkeeping of shards that is the same for processes of this machine and for those of a cluster."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tau0.train.encode_worker import ShardDone
from tau0.train.latent_store import ShardTask

MAX_ATTEMPTS = 3


class EncodingFailedError(RuntimeError):
    """Encoding cannot go on. What is finished is kept; the message names the shard."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a shard: `done` is None when its worker died, for the reason given."""

    task: ShardTask
    done: ShardDone | None
    reason: str = ""


class Crew(Protocol):
    """Workers that take one shard at a time."""

    @property
    def num_idle(self) -> int:
        """Workers without a shard, those included that have to be started anew."""
        ...

    @property
    def num_busy(self) -> int:
        """Workers with a shard."""
        ...

    def give(self, task: ShardTask) -> None:
        """Gives an idle worker something to do."""
        ...

    def wait(self) -> Outcome:
        """Waits for any of the busy workers. Raises what a worker raised."""
        ...


def encode_all(tasks: Iterable[ShardTask], crew: Crew, on_done: Callable[[Path, ShardDone], None], on_death: Callable[[str], None]) -> None:
    """Has every shard encoded; those of workers that die are given to others, twice.

    Args:
        tasks: Each a shard.
        crew: Who encodes.
        on_done: Gets the path of each finished shard, and what was done.
        on_death: Gets a sentence about each worker that died.

    Raises:
        EncodingFailedError: When a shard's worker died three times.
        Exception: What a worker raised.
    """
    fresh, again = iter(tasks), deque[ShardTask]()
    attempts: Counter[Path] = Counter()
    upcoming = next(fresh, None)
    while upcoming is not None or again or crew.num_busy:
        while crew.num_idle and (again or upcoming is not None):
            if again:
                crew.give(again.popleft())
            elif upcoming is not None:
                crew.give(upcoming)
                upcoming = next(fresh, None)
        outcome = crew.wait()
        if outcome.done is not None:
            on_done(outcome.task.path, outcome.done)
            continue
        attempts[outcome.task.path] += 1
        episodes = sorted(set(outcome.task.clips.episode.tolist()))
        where = f"{outcome.task.path.name} ({len(outcome.task.clips)} rows of the episodes {episodes[0]} to {episodes[-1]} of the list)"
        if attempts[outcome.task.path] >= MAX_ATTEMPTS:
            raise EncodingFailedError(
                f"{MAX_ATTEMPTS} workers died over {where}, the last one {outcome.reason}: out of memory? "
                "The same command goes on; with fewer workers it needs less"
            )
        on_death(f"a worker died over {where}: {outcome.reason}; the shard is done again")
        again.append(outcome.task)
