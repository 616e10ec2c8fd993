"""All latents of a source: what is there already stays, the rest is encoded, on this machine or on a cluster."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tau0.data.episodes import DatasetError
from tau0.train.augmentation import Augmentation
from tau0.train.encode_crew import Crew, EncodingFailedError, encode_all
from tau0.train.encode_local import LocalCrew
from tau0.train.encode_worker import EncodeJob, OwnAutoencoder, PublishedAutoencoder, ShardDone
from tau0.train.latent_store import LatentStore, read_note, shard_path

CrewMaker = Callable[[EncodeJob], AbstractContextManager[Crew]]


@dataclass(frozen=True, kw_only=True)
class EncodeProgress:
    """How far encoding is, of what was not there when it began."""

    shards_done: int
    shards: int
    pictures: int


def local_crew(num_workers: int) -> CrewMaker:
    """Processes of this machine."""
    return lambda job: LocalCrew(job, num_workers)


def encode_source(
    store: LatentStore,
    autoencoder: OwnAutoencoder | PublishedAutoencoder,
    crew: CrewMaker,
    *,
    augmentation: Augmentation | None = None,
    num_variants: int = 1,
    device: str = "cpu",
    on_progress: Callable[[EncodeProgress], None] = lambda _progress: None,
    on_death: Callable[[str], None] = lambda _sentence: None,
) -> EncodeProgress:
    """Encodes what is missing of a store. Says what was done: nothing, the second time.

    Args:
        store: Of one source.
        autoencoder: The store's.
        crew: Who encodes.
        augmentation: What variants are changed by.
        num_variants: Of every picture, with the plain one.
        device: Where workers encode, as torch says it.
        on_progress: Is told after every shard.
        on_death: Gets a sentence about every worker that died; its shard is done again.

    Raises:
        DatasetError: When no picture of the dataset can be read.
        EncodingFailedError: When three workers died over one shard, or another process encodes the same.
        OSError: When there is no room, or the folder may not be written.
    """
    shards, _ = store.num_missing(augmentation, num_variants)
    progress = EncodeProgress(shards_done=0, shards=shards, pictures=0)
    if not shards:
        return progress
    store.create()

    def count(_path: Path, done: ShardDone) -> None:
        nonlocal progress
        progress = EncodeProgress(shards_done=progress.shards_done + 1, shards=shards, pictures=progress.pictures + done.pictures)
        on_progress(progress)

    job = EncodeJob.of(store, autoencoder, augmentation, device)
    with _alone(store.folder), crew(job) as workers:
        encode_all(store.missing(augmentation, num_variants), workers, count, on_death)
    _refuse_if_nothing_was_read(store)
    return progress


def unreadable(store: LatentStore) -> list[tuple[int, int, str]]:
    """What could not be read when a finished store was encoded: the dataset's number of the episode, the view, and why."""
    (plain,) = store.variant_folders(None, 1)
    return [note for shard in store.shards for note in read_note(shard_path(plain, shard))]


def _refuse_if_nothing_was_read(store: LatentStore) -> None:
    missing = unreadable(store)
    if len({(episode, view) for episode, view, _ in missing}) >= len({e.index for e in store.episodes}) * len(store.cameras):
        raise DatasetError(f"{store.recording.dataset.root}: the pictures of no episode can be read; the first: {missing[0][2]}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from encoding into the same folder meanwhile, which would do everything twice."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EncodingFailedError(f"another process is encoding into {folder}: wait for it, or stop it") from None
        yield
