"""Latents ahead of time: every frame of a dataset through the frozen autoencoder, once, into arrays beside the dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tau0.data.episodes import Dataset, EpisodeInfo
from tau0.interrupts import interrupts_ignored
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.views import pixels_to_tensor

CHUNK = 128
FOLDER = ".latents"


def encoder_identity(autoencoder: Autoencoder) -> str:
    """First 16 hex digits of a hash over shape and weights: latents of another encoder are never mistaken for these."""
    digest = hashlib.sha256(repr(asdict(autoencoder.config)).encode())
    for name, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def encode_dataset(
    dataset: Dataset,
    autoencoder: Autoencoder,
    cameras: Sequence[str],
    workers: int,
    on_episode: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, NDArray[np.float16]]:
    """Latents by camera, memory-mapped float16 of shape (rows, z, h, w). Encodes only what is not on disk yet.

    An interrupted run goes on where it stopped: finished episodes are listed beside the arrays, which get their name when complete.

    Raises:
        OSError: When there is no room for the arrays, or they may not be written.
        BrokenProcessPool: When a worker was killed; what was finished is kept.
    """
    folder = _cache(dataset, autoencoder)
    if not folder.is_dir():
        draft = folder.with_name(folder.name + ".partial")
        draft.mkdir(parents=True, exist_ok=True)
        _encode_missing(dataset, autoencoder, tuple(cameras), draft, workers, on_episode)
        draft.rename(folder)
    return {camera: np.load(folder / f"{camera}.npy", mmap_mode="r", allow_pickle=False) for camera in cameras}


def encode_episodes(
    dataset: Dataset, autoencoder: Autoencoder, cameras: Sequence[str], episodes: Sequence[EpisodeInfo]
) -> dict[str, NDArray[np.float16]]:
    """Latents by camera of shape (rows of the whole dataset, z, h, w), filled in for `episodes` alone; nothing is written to disk.

    Takes what `encode_dataset` has cached where there is such a cache.
    """
    folder = _cache(dataset, autoencoder)
    if folder.is_dir():
        return {camera: np.load(folder / f"{camera}.npy", mmap_mode="r", allow_pickle=False) for camera in cameras}
    arrays: dict[str, NDArray[np.float16]] = {}
    for camera in cameras:
        for episode in episodes:
            latents = _encode_frames(dataset, autoencoder, episode, camera)
            array = arrays.setdefault(camera, np.zeros((dataset.num_rows, *latents.shape[1:]), np.float16))
            array[episode.start : episode.stop] = latents
    return arrays


def _cache(dataset: Dataset, autoencoder: Autoencoder) -> Path:
    return dataset.root / FOLDER / f"{encoder_identity(autoencoder)}-{_dataset_identity(dataset)}"


def _dataset_identity(dataset: Dataset) -> str:
    return hashlib.sha256((dataset.root / "meta" / "info.json").read_bytes() + str(dataset.num_rows).encode()).hexdigest()[:8]


def _encode_missing(
    dataset: Dataset,
    autoencoder: Autoencoder,
    cameras: tuple[str, ...],
    draft: Path,
    workers: int,
    on_episode: Callable[[int, int], None],
) -> None:
    for camera in cameras:
        _create(draft / f"{camera}.npy", dataset, autoencoder, camera)
    log = draft / "finished.txt"
    finished = set(map(int, log.read_text().split())) if log.exists() else set()
    todo = [i for i in range(len(dataset.episodes)) if i not in finished]
    start = (dataset.root, autoencoder.config, autoencoder.state_dict(), cameras, draft)
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, start) as pool, log.open("a") as file:
        with interrupts_ignored():
            pending = [pool.submit(_encode_episode, index) for index in todo]
        try:
            for done, future in enumerate(as_completed(pending)):
                file.write(f"{future.result()}\n")
                file.flush()
                on_episode(len(finished) + done + 1, len(dataset.episodes))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _create(path: Path, dataset: Dataset, autoencoder: Autoencoder, camera: str) -> None:
    if path.exists():
        return
    pixels = pixels_to_tensor(dataset.frames(dataset.episodes[0], camera)[:1])
    shape = autoencoder.to_raw(pixels).shape[1:]
    draft = path.with_suffix(".draft")
    try:
        np.lib.format.open_memmap(draft, mode="w+", dtype=np.float16, shape=(dataset.num_rows, *shape)).flush()
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, but kills the process that writes to a mapped page later
            with draft.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


_WORKER: dict[str, tuple[Dataset, Autoencoder, dict[str, NDArray[np.float16]]]] = {}


def _start_worker(root: Path, config: AutoencoderConfig, weights: dict[str, torch.Tensor], cameras: tuple[str, ...], draft: Path) -> None:
    torch.set_num_threads(1)
    autoencoder = Autoencoder(config)
    autoencoder.load_state_dict(weights)
    arrays = {camera: np.load(draft / f"{camera}.npy", mmap_mode="r+", allow_pickle=False) for camera in cameras}
    _WORKER["state"] = (Dataset.open(root), autoencoder.eval(), arrays)


def _encode_episode(index: int) -> int:
    dataset, autoencoder, arrays = _WORKER["state"]
    episode = dataset.episodes[index]
    for camera, array in arrays.items():
        array[episode.start : episode.stop] = _encode_frames(dataset, autoencoder, episode, camera)
    return index


@torch.inference_mode()
def _encode_frames(dataset: Dataset, autoencoder: Autoencoder, episode: EpisodeInfo, camera: str) -> NDArray[np.float16]:
    video = pixels_to_tensor(dataset.frames(episode, camera))
    chunks = [autoencoder.encode(chunk.unsqueeze(2)).squeeze(2) for chunk in video.split(CHUNK)]
    return torch.cat(chunks).half().numpy()
