"""Collecting a dataset: many units in several processes, resumable, assembled at the end."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tau0.collect.units import CollectError, Unit, plan_units, record_unit
from tau0.data.assemble import assemble, is_assembled, remove_scaffolding
from tau0.data.schema import Kind
from tau0.data.writer import STAGING, UnitWriter, remove_partial_units, unit_path
from tau0.worlds.protocol import World
from tau0.worlds.registry import SUITES, MixedRobotsError, embodiment_of, make_world
from tau0.worlds.rendering import choose_backend

MANIFEST = "collect.json"
_LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What to record, and where.

    Attributes:
        root: Folder of the dataset. It may hold an unfinished collection with the same settings, which then goes on.
        tasks: Of any suite, but of one robot.
        demonstrations: Successful episodes for each task.
        demonstrations_of: Instead, for some of the tasks.
        failures: Failed episodes for each task.
        branch_groups: States for each task from which five different chunks are executed.
        seed: Everything random depends on it.
        workers: Processes; each needs one core and some 400 MB.
    """

    root: Path
    tasks: tuple[str, ...] = SUITES["demo"]
    demonstrations: int = 100
    demonstrations_of: Mapping[str, int] = field(default_factory=dict[str, int])
    failures: int = 30
    branch_groups: int = 40
    seed: int = 0
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("demonstrations", "failures", "branch_groups", "seed"):
            if getattr(self, name) < 0:
                raise CollectError(f"{name} is {getattr(self, name)}; it cannot be negative")
        for task, count in self.demonstrations_of.items():
            if task not in self.tasks:
                raise CollectError(f"demonstrations_of names {task!r}, which is not collected; there are {', '.join(self.tasks)}")
            if count < 0:
                raise CollectError(f"demonstrations_of {task} is {count}; it cannot be negative")
        if self.workers < 1:
            raise CollectError(f"workers is {self.workers}; it must be at least 1")
        if not self.units():
            raise CollectError("nothing to collect: give at least one task, and demonstrations, failures or branch_groups above 0")
        try:
            embodiment_of(self.tasks)
        except MixedRobotsError as error:
            raise CollectError(f"{error}; collect them into two folders") from error

    def units(self) -> list[Unit]:
        """All pieces of work, in order."""
        return [unit for task in self.tasks for unit in plan_units(task, self._counts(task), self.seed)]

    def _counts(self, task: str) -> dict[Kind, int]:
        demonstrations = self.demonstrations_of.get(task, self.demonstrations)
        return {"demonstration": demonstrations, "failure": self.failures, "branch": self.branch_groups}

    def manifest(self) -> str:
        """What must be equal for one collection to go on with another's work."""
        names = ("tasks", "demonstrations", "failures", "branch_groups", "seed")
        told = {name: getattr(self, name) for name in names}
        if self.demonstrations_of:
            told["demonstrations_of"] = dict(sorted(self.demonstrations_of.items()))
        return json.dumps(told, indent=1)


@dataclass(frozen=True, kw_only=True)
class CollectProgress:
    """How far collecting is.

    Attributes:
        units_done: Finished units, those of earlier runs included.
        units: All units.
        episodes: Recorded in this run.
        rows: Recorded in this run.
        seconds: Since this run started.
    """

    units_done: int
    units: int
    episodes: int
    rows: int
    seconds: float


def collect(config: CollectConfig, report: Callable[[CollectProgress], None] = lambda _progress: None) -> CollectProgress:
    """Records a LeRobot v3.0 dataset into `config.root`, or finishes one that was interrupted.

    Args:
        config: What to record, and where.
        report: Called after every unit.

    Returns:
        How much was recorded in this run.

    Raises:
        CollectError: The folder holds something else, cannot be written, or the disk is full.
        KeyboardInterrupt: Ctrl-C. Finished units are kept, and the same call goes on from there.
    """
    units, began = config.units(), time.monotonic()
    with _explained(config.root), ExitStack() as locks:
        if _is_finished(config):
            done = CollectProgress(units_done=len(units), units=len(units), episodes=0, rows=0, seconds=0.0)
            report(done)
            return done
        _prepare(config)
        locks.enter_context(_alone(config.root))
        todo = [unit for unit in units if not unit_path(config.root, unit.name).is_dir()]
        episodes = rows = 0
        finished = len(units) - len(todo)
        report(CollectProgress(units_done=finished, units=len(units), episodes=0, rows=0, seconds=0.0))
        for more_episodes, more_rows in _record_all(config, todo):
            finished, episodes, rows = finished + 1, episodes + more_episodes, rows + more_rows
            seconds = time.monotonic() - began
            report(CollectProgress(units_done=finished, units=len(units), episodes=episodes, rows=rows, seconds=seconds))
        assemble(config.root, [unit.name for unit in units], embodiment_of(config.tasks), {MANIFEST: config.manifest()})
    seconds = time.monotonic() - began
    return CollectProgress(units_done=finished, units=len(units), episodes=episodes, rows=rows, seconds=seconds)


def record_into(root: Path, unit: Unit) -> tuple[int, int]:
    """Records one unit into the collection at `root`, in this process. Returns its numbers of episodes and rows."""
    episodes, rows, world = 0, 0, _world(unit.task)
    with UnitWriter(root, unit.name, embodiment_of([unit.task])) as writer:
        for record in record_unit(world, unit):
            writer.add(record)
            episodes, rows = episodes + 1, rows + len(record)
    return episodes, rows


_worlds: dict[str, World] = {}


def _world(task: str) -> World:
    """The task's world in this process; one is kept, because a process can draw with one renderer at a time."""
    if task not in _worlds:
        for world in _worlds.values():
            world.close()
        _worlds.clear()
        _worlds[task] = make_world(task)
    return _worlds[task]


def _record_all(config: CollectConfig, todo: list[Unit]) -> Iterator[tuple[int, int]]:
    """Numbers of episodes and rows of each unit as it is finished, in any order. Stops all processes when the caller stops."""
    if not todo:
        return
    choose_backend()
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(config.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_belong_to_parent)
    try:
        pending: set[Future[tuple[int, int]]] = {pool.submit(record_into, config.root, unit) for unit in todo}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
            process.join()
        raise


def _belong_to_parent() -> None:
    """A worker ends when the process that started it ends, however that is: otherwise it would write on into a folder that is let go.

    Ctrl-C reaches every process of the terminal; the one that started the others ends them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _is_finished(config: CollectConfig) -> bool:
    if not is_assembled(config.root):
        return False
    _check_manifest(config.root / "meta" / MANIFEST, config)
    remove_scaffolding(config.root)
    return True


def _prepare(config: CollectConfig) -> None:
    staging = config.root / STAGING
    if config.root.is_dir() and any(config.root.iterdir()) and not staging.is_dir():
        raise CollectError(f"{config.root} is not empty and holds no collection to go on with; choose another folder")
    staging.mkdir(parents=True, exist_ok=True)
    manifest = staging / MANIFEST
    if manifest.is_file():
        _check_manifest(manifest, config)
    else:
        manifest.write_text(config.manifest(), "utf-8")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keeps a second process from collecting into the same folder; the system lets go when this process ends, however it ends."""
    with (root / STAGING / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CollectError(f"another process is collecting into {root}; wait for it, or choose another folder") from error
        remove_partial_units(root)
        yield


def _check_manifest(path: Path, config: CollectConfig) -> None:
    if not path.is_file():
        raise CollectError(f"{config.root} holds a dataset that `collect` did not make; choose another folder")
    there, here = json.loads(path.read_text("utf-8")), json.loads(config.manifest())
    for name in here | there:
        if there.get(name) != here.get(name):
            raise CollectError(
                f"{config.root} holds a collection with {name} {there.get(name)}, not {here.get(name)}; choose another folder"
            )


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Turns what the operating system refuses into one sentence."""
    try:
        yield
    except BrokenProcessPool as error:
        raise CollectError("a collecting process was ended from outside (out of memory?); run it again with fewer workers") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CollectError(f"cannot write {root}: {reason}; free space or choose another folder, then run it again") from error
