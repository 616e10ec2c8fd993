"""Encoding ahead of time: what is there stays, what dies is done again, what is half done is never taken for whole."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_recording import recording

from tau0.checkpoint import Checkpoint
from tau0.contract import Camera
from tau0.data.episodes import Dataset, DatasetError
from tau0.model.autoencoder import Autoencoder
from tau0.train.augmentation import Augmentation
from tau0.train.clips import PictureSpec
from tau0.train.content import notes_path, pictures_identity
from tau0.train.encode_crew import EncodingFailedError, Outcome, encode_all
from tau0.train.encode_local import LocalCrew
from tau0.train.encode_ray import RayCrew
from tau0.train.encode_run import EncodeProgress, encode_source, local_crew, unreadable
from tau0.train.encode_worker import EncodeJob, OwnAutoencoder, ShardDone, ShardWorker
from tau0.train.latent_store import LatentStore, ShardTask
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.pictures_cached import CachedLatents

CAMERAS = {"head": "front", "right_hand": "wrist"}
SPEC = PictureSpec(cameras=tuple(Camera(name=role, height=32, width=32) for role in CAMERAS))


@pytest.fixture(scope="session")
def own(checkpoint: Checkpoint) -> OwnAutoencoder:
    assert isinstance(checkpoint.autoencoder, Autoencoder)
    return OwnAutoencoder.of(checkpoint.autoencoder)


@pytest.fixture
def new_store(data: Path, own: OwnAutoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], LatentStore]:
    """Opens the store of a dataset's latents, in shards of two or three episodes."""
    monkeypatch.setattr("tau0.train.latent_store.SHARD_ROWS", 40)
    facts = EncoderFacts.of(own.load())
    return lambda: LatentStore(recording(Dataset.open(data), CAMERAS), SPEC, facts, tmp_path / "cache")


class InThisProcess:
    """A crew of one that dies when it is told to.

    Attributes:
        deaths: How often it still dies at the shard with that number.
        done: Shards given, in order.
    """

    def __init__(self, job: EncodeJob, deaths: dict[int, int] | None = None) -> None:
        self.deaths = {} if deaths is None else deaths
        self.done: list[str] = []
        self._worker, self._task = ShardWorker(job), None

    @property
    def num_busy(self) -> int:
        return int(self._task is not None)

    @property
    def num_idle(self) -> int:
        return 1 - self.num_busy

    def give(self, task: ShardTask) -> None:
        self._task = task

    def wait(self) -> Outcome:
        task, self._task = self._task, None
        assert task is not None
        self.done.append(task.path.stem)
        number = int(task.path.stem.removeprefix("shard-"))
        if self.deaths.get(number, 0):
            self.deaths[number] -= 1
            return Outcome(task=task, done=None, reason="killed by SIGKILL")
        return Outcome(task=task, done=self._worker.encode(task))

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_second_run_does_nothing(new_store: Callable[[], LatentStore], own: OwnAutoencoder, data: Path) -> None:
    before, store, seen = contents(data), new_store(), []
    done = encode_source(store, own, InThisProcess, on_progress=seen.append)
    assert done.shards == done.shards_done == len(store.shards) == len(seen) > 3
    assert done.pictures == 2 * store.recording.dataset.num_rows
    written = contents(store.folder)
    again = encode_source(new_store(), own, lambda _job: pytest.fail("encoded twice"))
    assert again == EncodeProgress(shards_done=0, shards=0, pictures=0)
    assert contents(store.folder) == written
    assert contents(data) == before
    assert not [name for name in written if "draft" in name]


def test_an_interrupted_run_goes_on(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    def stop(progress: EncodeProgress) -> None:
        if progress.shards_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_source(new_store(), own, InThisProcess, on_progress=stop)
    store = new_store()
    assert store.num_missing()[0] == len(store.shards) - 2
    assert encode_source(store, own, InThisProcess).shards_done == len(store.shards) - 2
    assert store.num_missing() == (0, 0)


def test_a_killed_process_costs_its_shard(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    store, said, crews = new_store(), [], []
    killed = []

    def crew(job: EncodeJob) -> LocalCrew:
        crews.append(LocalCrew(job, 2))
        return crews[-1]

    def kill_one(progress: EncodeProgress) -> None:
        if progress.shards_done == 1:
            pid = next(member.process.pid for member in crews[0]._members if member.task is not None)
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    done = encode_source(store, own, crew, on_progress=kill_one, on_death=said.append)
    assert done.shards_done == len(store.shards)
    assert len(said) == len(killed) == 1
    assert "killed by SIGKILL; the shard is done again" in said[0]
    assert store.num_missing() == (0, 0)
    assert not list(store.folder.rglob("*.draft"))
    assert not crews[0].pids
    alone = LatentStore(store.recording, SPEC, store.facts, store.folder.parent.with_name("other"))
    encode_source(alone, own, InThisProcess)
    rows = np.arange(store.recording.dataset.num_rows)[None]
    first, second = (CachedLatents(s.recording, SPEC, s.facts, s.folder.parent).latents(rows) for s in (store, alone))
    assert np.allclose(first.latents.numpy(), second.latents.numpy(), atol=2e-3)


def test_a_shard_that_kills_three_times_is_named(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    store, said = new_store(), []
    encode_source(store, own, lambda job: InThisProcess(job, {1: 2}), on_death=said.append)
    assert len(said) == 2
    shutil.rmtree(store.folder)
    with pytest.raises(EncodingFailedError, match=r"3 workers died over shard-000001.npy \(\d+ rows of the episodes 2 to 3 of the list\)"):
        encode_source(store, own, lambda job: InThisProcess(job, {1: 3}))
    assert store.num_missing()[0] < len(store.shards)


def test_others_shards_go_on_while_one_waits(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    store = new_store()
    crew = InThisProcess(EncodeJob.of(store, own), {0: 1})
    finished: list[ShardDone] = []
    encode_all(store.missing(), crew, lambda _path, done: finished.append(done), lambda _said: None)
    assert crew.done[:2] == ["shard-000000", "shard-000000"]
    assert sum(done.rows for done in finished) == store.recording.dataset.num_rows


def test_a_full_disk_leaves_nothing_half_done(
    new_store: Callable[[], LatentStore], own: OwnAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, room = new_store(), [2]

    def allocate(*_args: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.raises(OSError, match="No space left"):
        encode_source(store, own, InThisProcess)
    assert store.num_missing()[0] == len(store.shards) - 2
    assert not list(store.folder.rglob("*.draft"))
    room[0] = 1000
    encode_source(store, own, InThisProcess)
    assert store.num_missing() == (0, 0)


def test_two_runs_do_not_encode_the_same(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    store = new_store()

    def second_run(progress: EncodeProgress) -> None:
        if progress.shards_done == 1:
            with pytest.raises(EncodingFailedError, match="another process is encoding into"):
                encode_source(new_store(), own, InThisProcess)

    encode_source(store, own, InThisProcess, on_progress=second_run)


def test_variants_lie_beside_the_plain_latents(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    store, changes = new_store(), Augmentation(seed=1)
    encode_source(store, own, InThisProcess)
    plain = contents(store.folder / "plain")
    done = encode_source(store, own, InThisProcess, augmentation=changes, num_variants=2)
    assert done.shards_done == len(store.shards)
    assert contents(store.folder / "plain") == plain
    assert contents(store.folder / f"{changes.identity}-1").keys() == plain.keys()
    assert store.num_missing(replace(changes, seed=2), 2)[0] == len(store.shards)


def test_identity_is_of_pictures_and_times_alone(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()

    def identity() -> str:
        return pictures_identity(Dataset.open(data), ["front"], cache)

    first, table = identity(), next(data.glob("data/**/*.parquet"))
    assert notes_path(Dataset.open(data), cache).is_file()
    video, other = next(data.glob("videos/*front*/**/*.mp4")), next(data.glob("videos/*wrist*/**/*.mp4"))
    os.utime(video)
    rows = pq.read_table(table)
    assert identity() == first
    pq.write_table(rows.append_column("note", [[0] * len(rows)]), table)
    assert identity() == first
    content = other.read_bytes()
    other.write_bytes(content + b"\0")
    assert identity() == first
    content = video.read_bytes()
    video.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert identity() != first
    video.write_bytes(content)
    assert identity() == first
    stamps = rows.column_names.index("timestamp")
    pq.write_table(rows.set_column(stamps, rows.schema.field(stamps), [np.asarray(rows["timestamp"]) + np.float32(0.001)]), table)
    assert identity() != first
    video.unlink()
    with pytest.raises(DatasetError, match=r"mp4 is missing: the dataset is incomplete"):
        identity()


def test_a_dataset_of_which_nothing_can_be_read_is_refused(new_store: Callable[[], LatentStore], own: OwnAutoencoder, data: Path) -> None:
    for video in data.glob("videos/**/*.mp4"):
        video.write_bytes(video.read_bytes()[:100])
    store = new_store()
    with pytest.raises(DatasetError, match=r"the pictures of no episode can be read; the first: .*mp4"):
        encode_source(store, own, InThisProcess)
    assert {note[:2] for note in unreadable(store)} == {(episode.index, view) for episode in store.episodes for view in range(2)}


def test_local_crew_says_what_a_worker_raised(new_store: Callable[[], LatentStore], own: OwnAutoencoder, data: Path) -> None:
    store = new_store()
    shutil.rmtree(data / "meta")
    with pytest.raises(DatasetError, match=r"info\.json is missing"):
        encode_source(store, own, local_crew(1))


@pytest.mark.slow
def test_a_cluster_gives_the_same_and_outlives_an_actor(new_store: Callable[[], LatentStore], own: OwnAutoencoder) -> None:
    ray = pytest.importorskip("ray")
    store, said, crews = new_store(), [], []

    def crew(job: EncodeJob) -> RayCrew:
        crews.append(RayCrew(job, 2))
        return crews[-1]

    def kill_one(progress: EncodeProgress) -> None:
        if progress.shards_done == 1:
            ray.kill(next(member.actor for member in crews[0]._members if member.task is not None))

    done = encode_source(store, own, crew, on_progress=kill_one, on_death=said.append)
    assert done.shards_done == len(store.shards)
    assert len(said) == 1
    assert not ray.is_initialized()
    assert not list(store.folder.rglob("*.draft"))
    alone = LatentStore(store.recording, SPEC, store.facts, store.folder.parent.with_name("other"))
    encode_source(alone, own, InThisProcess)
    rows = np.arange(store.recording.dataset.num_rows)[None]
    first, second = (CachedLatents(s.recording, SPEC, s.facts, s.folder.parent).latents(rows) for s in (store, alone))
    assert np.allclose(first.latents.numpy(), second.latents.numpy(), atol=2e-3)
    shutil.rmtree(store.recording.dataset.root / "meta")
    shutil.rmtree(store.folder)
    with pytest.raises(DatasetError, match=r"info\.json is missing"):
        encode_source(store, own, lambda job: RayCrew(job, 1))
