"""What robots saw and did, as LeRobot v3.0 datasets, so that failures become training data.

A run of the server has a folder with up to two datasets: `judged` holds episodes of which the client said how they ended, `unjudged` the
others, whose labels of progress and success mean nothing. An episode is kept when every control step of it was seen. It is on disk as soon
as it ends; the datasets are put together when the server ends, or, after a kill, when the next one begins.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tau0.contract import Decision, Embodiment, Float, Observation
from tau0.data.assemble import assemble, is_assembled
from tau0.data.progress import failed_progress, success_progress
from tau0.data.schema import EpisodeMeta, EpisodeRecord
from tau0.data.writer import STAGING, UnitWriter, remove_partial_units
from tau0.serve.logs import event
from tau0.serve.protocol import Outcome

JUDGED, UNJUDGED = "judged", "unjudged"
MAX_EPISODE_BYTES, MAX_PENDING = 256 * 2**20, 4
"""A longer episode is cut in two; more episodes that wait to be written are dropped, and the log says so."""

_BEHAVIOUR = "policy"


class Tape:
    """The episode of one connection, as far as it has come."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        """Empty. `name` is the connection's."""
        self._recorder, self._name = recorder, name
        self._rows: dict[int, tuple[Observation, Float]] = {}
        self._is_reported = False
        self._bytes = 0

    def decided(self, observation: Observation, decision: Decision) -> None:
        """A query. It tells what was done only where the robot queries at every control step and reports nothing."""
        if not self._is_reported:
            self._add(observation, decision.chunk.actions[0])

    def saw(self, observation: Observation, action: Float) -> None:
        """A report of one control step: what was seen before the action, and the action that was executed."""
        if not self._is_reported:
            self._forget()
            self._is_reported = True
        self._add(observation, action)

    def _add(self, observation: Observation, action: Float) -> None:
        size = sum(pixels.nbytes for pixels in observation.images.values())
        if self._bytes + size > MAX_EPISODE_BYTES:
            self.end(None)
        self._rows[observation.step] = (observation, action)
        self._bytes += size

    def end(self, outcome: Outcome | None) -> None:
        """The episode is over, and ended like that; None where nobody said."""
        steps = sorted(self._rows)
        if steps and steps[-1] - steps[0] + 1 == len(steps):
            self._recorder.keep([self._rows[step] for step in steps], outcome)
        elif steps:
            seen = f"{len(steps)} of {steps[-1] - steps[0] + 1}"
            event("not recorded", logging.WARNING, session=self._name, reason=f"{seen} control steps were seen: send reports")
        self._forget()

    def _forget(self) -> None:
        self._rows, self._bytes = {}, 0


class Recorder:
    """Writes episodes in a thread of its own."""

    def __init__(self, root: Path, embodiment: Embodiment, on_written: Callable[[int], None] | None = None) -> None:
        """Records into a new folder of `root`, after putting together what a killed server left there.

        Raises:
            OSError: The folder cannot be written.
        """
        for folder in root.glob(f"run-*/*/{STAGING}"):
            _put_together(folder.parent, embodiment)
        self.folder = root / time.strftime("run-%Y%m%d-%H%M%S", time.gmtime())
        self.folder.mkdir(parents=True)
        self.on_written = on_written
        self._embodiment = embodiment
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tau0-recorder")
        self._pending = threading.Semaphore(MAX_PENDING)
        self._count = 0

    def tape(self, name: str) -> Tape:
        """An empty tape for one connection."""
        return Tape(self, name)

    def keep(self, rows: list[tuple[Observation, Float]], outcome: Outcome | None) -> None:
        """Writes one episode soon; drops it, and says so, when too many wait."""
        if not self._pending.acquire(blocking=False):
            event("not recorded", logging.ERROR, reason=f"{MAX_PENDING} episodes wait to be written already", steps=len(rows))
            return
        self._count += 1
        self._pool.submit(self._write, f"episode-{self._count:06d}", rows, outcome)

    def _write(self, unit: str, rows: list[tuple[Observation, Float]], outcome: Outcome | None) -> None:
        try:
            root = self.folder / (UNJUDGED if outcome is None else JUDGED)
            with UnitWriter(root, unit, self._embodiment) as writer:
                writer.add(_episode(rows, outcome == "success"))
            if self.on_written is not None:
                self.on_written(len(rows))
            event("recorded", unit=unit, steps=len(rows), outcome=outcome or "unknown")
        except Exception as error:
            event("not recorded", logging.ERROR, error, unit=unit)
        finally:
            self._pending.release()

    def close(self) -> None:
        """Writes what waits, and puts the datasets together."""
        self._pool.shutdown(wait=True)
        for name in (JUDGED, UNJUDGED):
            if (self.folder / name).exists():
                _put_together(self.folder / name, self._embodiment)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def _put_together(root: Path, embodiment: Embodiment) -> None:
    """Makes a dataset of the finished episodes in `root`."""
    remove_partial_units(root)
    units = sorted(path.name for path in (root / STAGING).glob("*"))
    if units and not is_assembled(root):
        assemble(root, units, embodiment)


def _episode(rows: list[tuple[Observation, Float]], is_success: bool) -> EpisodeRecord:
    """The record of consecutive control steps. There was no expert: what it would have done is what was done."""
    first, action = rows[0][0], np.stack([action for _, action in rows])
    return EpisodeRecord(
        meta=EpisodeMeta(
            task=first.instruction,
            kind="demonstration" if is_success else "failure",
            success=is_success,
            seed=0,
            instruction=first.instruction,
            behaviour=_BEHAVIOUR,
        ),
        images={name: np.stack([observation.images[name] for observation, _ in rows]) for name in first.images},
        state=np.stack([observation.state for observation, _ in rows]),
        action=action,
        expert_action=action,
        progress=success_progress(len(rows)) if is_success else failed_progress(len(rows)),
        next_success=np.arange(len(rows)) >= len(rows) - int(is_success),
    )
