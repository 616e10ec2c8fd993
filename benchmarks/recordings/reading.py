"""One source as training reads it, and PyAV reading the same pictures and doing nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tau0.contract import Camera, Pixels
from tau0.data.aligned import AlignedSource
from tau0.data.descriptions import find_description
from tau0.data.episodes import Dataset
from tau0.data.index import SamplingSpec
from tau0.data.layout import LAYOUTS
from tau0.data.schema import TIMESTAMP, image_key
from tau0.data.windows import WindowRows, WindowSpec
from tau0.model.autoencoder import Autoencoder
from tau0.model.text import CachedText, SentenceEncoder
from tau0.presets import TEXT_LENGTH, preset
from tau0.train.augmentation import Draw
from tau0.train.clips import PictureSpec, present_cameras
from tau0.train.encode_worker import EncodeJob, OwnAutoencoder, ShardWorker
from tau0.train.ingredients import robot_codecs
from tau0.train.latent_store import LatentStore
from tau0.train.picture_encoder import EncoderFacts, PictureEncoder
from tau0.train.pictures import PictureSource
from tau0.train.pictures_cached import CachedLatents
from tau0.train.source import Ingredient, TrainingSource

WINDOW = WindowSpec(frame_stride=8, num_future=2, num_memory=3)


@dataclass(frozen=True, kw_only=True)
class What:
    """Which data is measured, and with which autoencoder."""

    dataset: Path
    description: str
    layout: str
    rate_hz: float
    cameras: tuple[Camera, ...]
    size: str

    def aligned(self) -> AlignedSource:
        """The dataset, opened; aligned first where it never was."""
        return AlignedSource.open(Dataset.open(self.dataset), find_description(self.description), LAYOUTS[self.layout], self.rate_hz)

    def autoencoder(self) -> Autoencoder:
        """Of the size, with random weights."""
        config = preset(self.size).autoencoder
        assert config is not None, f"{self.size} has no autoencoder of its own"
        return Autoencoder(config).eval()


class TimedEncoder(PictureEncoder):
    """The autoencoder, and for how long it was busy."""

    def __init__(self, autoencoder: Autoencoder, clock: Callable[[], float]) -> None:
        super().__init__(autoencoder)
        self.seconds, self._clock = 0.0, clock

    def encode(self, clips: Sequence[Pixels], draws: Sequence[Draw] | None = None, view: int = 0) -> NDArray[np.float16]:
        """As `PictureEncoder.encode`."""
        start = self._clock()
        encoded = super().encode(clips, draws, view)
        self.seconds += self._clock() - start
        return encoded


class Stream:
    """The samples of one source, step by step, as training sees them.

    Attributes:
        aligned: The source.
        pictures: Which pictures of it.
    """

    def __init__(self, what: What, batch: int) -> None:
        self.aligned = what.aligned()
        self.pictures = PictureSpec(cameras=what.cameras, frame_stride=WINDOW.frame_stride, num_future=WINDOW.num_future)
        self._codec = robot_codecs([self.aligned])[self.aligned.description.embodiment]
        self._text = CachedText(SentenceEncoder(TEXT_LENGTH))
        self._sampling = SamplingSpec(policy_batch=batch, simulator_batch=batch)

    def read_by(self, pictures: PictureSource) -> TrainingSource:
        """What training asks for batches."""
        ingredient = Ingredient(name="measured", aligned=self.aligned, pictures=pictures, codec=self._codec)
        return TrainingSource([ingredient], self._text, WINDOW, self._sampling, split="all")


def chosen(source: TrainingSource, step: int) -> WindowRows:
    """Which rows a step sees: simulator samples, all of whose frames exist."""
    return source.sources[0].windows.resolve(source.rows("simulator", step))


class _OpenVideo:
    """A file, and where its decoder stands."""

    def __init__(self, path: Path) -> None:
        self.container = av.open(str(path))
        self._video = self.container.streams.video[0]
        self._video.codec_context.thread_count = 1
        self._origin = self._video.start_time or 0
        # An index counts when frames are decoded, which is earlier than they are shown where some are stored in another order.
        entries = list(self._video.index_entries)
        self._keys = np.array([entry.timestamp - entries[0].timestamp for entry in entries if entry.is_keyframe]) + self._origin
        self._frames: Iterator[VideoFrame] = iter(())
        self._at = -1

    def frames(self, times_s: NDArray[np.float64]) -> Iterator[VideoFrame]:
        """Those at increasing times; sought only where a key frame is nearer than where the decoder stands."""
        ticks = (times_s / float(self._video.time_base or 1)).round().astype(np.int64) + self._origin
        before = self._keys[np.maximum(np.searchsorted(self._keys, ticks, side="right") - 1, 0)]
        for tick, key in zip(ticks.tolist(), before.tolist(), strict=True):
            if not key <= self._at < tick:
                self.container.seek(key, stream=self._video)
                self._frames = self.container.decode(self._video)
            for frame in self._frames:
                self._at = frame.pts or 0
                if self._at >= tick:
                    yield frame
                    break


class Decoder:
    """PyAV decoding the frames that a stream's samples need, each once, and nothing else."""

    def __init__(self, stream: Stream, source: TrainingSource) -> None:
        self._aligned, self._source = stream.aligned, source
        self._cameras = [image_key(name) for name in present_cameras(stream.aligned, stream.pictures).values()]
        self._place = {episode.index: episode for episode in stream.aligned.dataset.episodes}
        self._open: dict[Path, _OpenVideo] = {}
        self._converter = VideoReformatter()

    def wanted(self, step: int) -> list[tuple[Path, NDArray[np.float64]]]:
        """Files, and increasing times in seconds of each, of a step's samples: camera by camera, episode by episode."""
        at, found = chosen(self._source, step), []
        rows = np.unique(np.concatenate([at.memory, at.current[:, None], at.future], axis=1))
        episode = self._source.sources[0].windows.episode_of(rows)
        for place in np.unique(episode):
            info = self._place[self._aligned.episodes[place].index]
            times_s = self._aligned.dataset.table(info)[TIMESTAMP].astype(np.float64)
            frames = np.unique(self._aligned.frames[rows[episode == place]])
            found.append((info, times_s[frames] - times_s[0]))
        return [(e.videos[camera].path, e.videos[camera].from_s + times_s) for camera in self._cameras for e, times_s in found]

    def decode(self, wanted: Sequence[tuple[Path, NDArray[np.float64]]]) -> int:
        """Decodes them to RGB. Says how many frames that were."""
        count = 0
        for path, times_s in wanted:
            if path not in self._open:
                self._open[path] = _OpenVideo(path)
            for frame in self._open[path].frames(times_s):
                self._converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                count += 1
        return count

    def close(self) -> None:
        """Closes every file."""
        for video in self._open.values():
            video.container.close()


def cached(stream: Stream, autoencoder: Autoencoder) -> CachedLatents:
    """The latents of the whole source, encoded ahead of time unless they are there."""
    facts = EncoderFacts.of(autoencoder)
    store = LatentStore(stream.aligned, stream.pictures, facts)
    if tasks := list(store.missing()):
        store.create()
        worker = ShardWorker(EncodeJob.of(store, OwnAutoencoder.of(autoencoder), None, "cpu"))
        for task in tasks:
            worker.encode(task)
    return CachedLatents(stream.aligned, stream.pictures, facts)
