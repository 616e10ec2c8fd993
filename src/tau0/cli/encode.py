"""`tau0 encode`: datasets into latents and features of texts, before training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import UsageError, at_least
from tau0.cli.bars import Bars
from tau0.cli.folders import SMALLEST_MB, writable_folder
from tau0.cli.shipped import named_folder

if TYPE_CHECKING:
    from tau0.contract import Camera
    from tau0.data.mixture import MixtureSpec
    from tau0.train.augmentation import Augmentation
    from tau0.train.clips import PictureSpec, Recording
    from tau0.train.encode_run import CrewMaker, EncodeProgress
    from tau0.train.find_autoencoder import FoundAutoencoder
    from tau0.train.latent_store import LatentStore

MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One dataset to encode, and the texts that are said in it."""

    recording: Recording
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Encode the pictures and texts of datasets, so that training need not.

    Latents go beside each dataset unless --cache says where; the dataset's own files stay as they are. What is encoded already is not
    encoded again, whoever did it: latents are found by the content of the pictures and by the encoder. Ctrl-C keeps what was finished,
    and the same command goes on. Pictures that cannot be decoded are named, and the exit status is 1.

    Attributes:
        what: A mixture (a JSON file), or folders of datasets.
        autoencoder: A checkpoint, a run of `tau0 train`, the word shipped, or a folder with Wan 2.2 in diffusers' form. The last one's
            latents depend on the model's rate and windows: it needs a mixture.
        description: What the datasets mean: name of a preset, or a JSON file. A mixture has its own.
        cameras: Roles in the order of the canvas with their sizes, such as head=192x256 right_hand=192x256; those of the checkpoint or
            mixture unless given.
        workers: Processes of one thread, or actors of the cluster.
        ray: Address of a Ray cluster, such as auto or ray://host:10001, or local for one on this machine. Its machines must see datasets
            and latents under the same names.
        device: Where latents are computed: cpu or cuda.
        variants: Of every picture, the plain one among them: the others are jittered and cropped. Training takes them with the same
            --variants.
        cache: Folder for what is worked out from all datasets; beside each unless given. Training takes the same --cache.
    """

    what: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MIXTURE.json|DATASET..")]
    autoencoder: Path
    description: Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH")] = None
    cameras: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ROLE=HxW")] = ()
    workers: int = 2
    ray: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS|local")] = None
    device: str = "cpu"
    variants: int = 1
    cache: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    stopped: ClassVar[str] = "Stopped. What was finished is kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:
        """Encodes, or says that nothing is left to do."""
        at_least(1, workers=self.workers, variants=self.variants)
        if not self.what:
            raise UsageError("name a mixture (a JSON file), or folders of datasets")

        from tau0.model.encoders import PublishedEncoders
        from tau0.train.augmentation import Augmentation
        from tau0.train.find_autoencoder import find_autoencoder
        from tau0.train.latent_store import LatentStore

        found = find_autoencoder(named_folder(self.autoencoder), PublishedEncoders.from_environment())
        spec, sources = self._sources(found)
        augmentation = Augmentation() if self.variants > 1 else None
        num_unreadable = 0
        with Bars(console) as bars:
            for source in sources:
                root = source.recording.dataset.root
                bars.start(root.name, "looking at its files")
                store = LatentStore(source.recording, spec, found.facts, self.cache)
                num_unreadable += self._encode(store, found, augmentation, bars, stderr)
            self._encode_texts([text for source in sources for text in source.texts], found, bars)
        return 1 if num_unreadable else 0

    def _encode(self, store: LatentStore, found: FoundAutoencoder, augmentation: Augmentation | None, bars: Bars, stderr: Console) -> int:
        """Encodes one source. Returns how many of its episodes' cameras cannot be decoded, after naming them."""
        from tau0.train.encode_run import encode_source, unreadable

        root = store.recording.dataset.root
        _, rows = store.num_missing(augmentation, self.variants)
        if rows:
            writable_folder(store.folder.parent, store.num_bytes(rows) / 1e6 + SMALLEST_MB)
        began = time.monotonic()

        def show(progress: EncodeProgress) -> None:
            speed = progress.pictures / max(time.monotonic() - began, 1e-9)
            bars.show(root.name, progress.shards_done / progress.shards, f"{progress.pictures} frames, {speed:.0f} frames/s")

        def warn(sentence: str) -> None:
            stderr.print(f"{root}: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)

        done = encode_source(
            store, found.autoencoder, self._crew(), augmentation=augmentation, num_variants=self.variants, device=self.device,
            on_progress=show, on_death=warn,
        )  # fmt: skip
        bars.say(_result(store, done, rows, time.monotonic() - began))
        missing = unreadable(store)
        for episode, view, reason in missing[:MAX_NAMED]:
            warn(f"episode {episode} has no pictures of {store.spec.cameras[view].name}: {reason}")
        if len(missing) > MAX_NAMED:
            warn(f"and {len(missing) - MAX_NAMED} more; tau0 doctor {root} lists them")
        return len(missing)

    def _encode_texts(self, texts: Sequence[str], found: FoundAutoencoder, bars: Bars) -> None:
        """Asks the text encoder about every text once; what it said is kept for good."""
        if found.text is None:
            bars.say("texts: none to keep (training encodes them itself)")
            return
        different = [*dict.fromkeys(["", *texts])]
        bars.start("texts", f"{len(different)} of them")
        for done, text in enumerate(different):
            found.text.encode([text])
            bars.show("texts", (done + 1) / len(different), f"{done + 1} of {len(different)}")

    def _crew(self) -> CrewMaker:
        from tau0.train.encode_ray import RayCrew
        from tau0.train.encode_run import local_crew

        return local_crew(self.workers) if self.ray is None else partial(RayCrew, num_workers=self.workers, address=self.ray)

    def _sources(self, found: FoundAutoencoder) -> tuple[PictureSpec, list[_Source]]:
        if self.what[0].suffix == ".json" and len(self.what) == 1:
            return self._of_mixture(found)
        if mixtures := [path for path in self.what if path.suffix == ".json"]:
            raise UsageError(f"{mixtures[0]} is a mixture, which goes alone: list the datasets in it")
        if not found.facts.is_per_frame:
            raise UsageError("latents of the published autoencoder depend on the model's rate and windows: give a mixture that says them")
        if self.description is None:
            raise UsageError("--description is missing: it says which camera plays which role (the name of a preset, or a JSON file)")

        from tau0.data.descriptions import find_description
        from tau0.data.episodes import Dataset
        from tau0.train.clips import AsRecorded, PictureSpec

        cameras = _cameras(self.cameras) if self.cameras else found.cameras
        if not cameras:
            raise UsageError("--cameras is missing: this autoencoder does not say for which cameras it is, such as head=192x256")
        described = find_description(self.description)
        datasets = [Dataset.open(path) for path in self.what]
        sources = [_Source(recording=AsRecorded(dataset=d, description=described), texts=tuple(d.tasks.values())) for d in datasets]
        return PictureSpec(cameras=cameras), sources

    def _of_mixture(self, found: FoundAutoencoder) -> tuple[PictureSpec, list[_Source]]:
        from tau0.data.aligned import AlignedSource
        from tau0.data.episodes import Dataset
        from tau0.data.layout import LAYOUTS
        from tau0.data.mixture import read_mixture
        from tau0.train.clips import AsRecorded, PictureSpec

        if self.description is not None:
            raise UsageError("--description is for datasets; a mixture describes its own")
        mixture: MixtureSpec = read_mixture(self.what[0])
        cameras = _cameras(self.cameras) if self.cameras else mixture.cameras
        spec = PictureSpec(cameras=cameras, frame_stride=mixture.frame_stride, num_future=mixture.num_future)
        sources = []
        for source in mixture.sources:
            dataset = Dataset.open(source.dataset)
            recording: Recording = AsRecorded(dataset=dataset, description=source.description)
            if not found.facts.is_per_frame:
                layout, horizon = LAYOUTS[mixture.layout], mixture.action_horizon
                recording = AlignedSource.open(
                    dataset, source.description, layout, mixture.rate_hz, cache=self.cache, action_horizon=horizon
                )
            sources.append(_Source(recording=recording, texts=tuple(dataset.tasks.values())))
        return spec, sources


def _cameras(given: Sequence[str]) -> tuple[Camera, ...]:
    from tau0.contract import Camera

    cameras = []
    for text in given:
        role, _, size = text.partition("=")
        height, _, width = size.partition("x")
        if not (role and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            raise UsageError(f"--cameras {text!r} is not a role with its height and width, such as head=192x256")
        cameras.append(Camera(name=role, height=int(height), width=int(width)))
    return tuple(cameras)


def _result(store: LatentStore, done: EncodeProgress, rows: int, seconds: float) -> str:
    """One line about what was done to a dataset."""
    root = store.recording.dataset.root
    if not done.shards:
        return f"{root}: was complete already, in {store.folder}"
    speed, size_mb = done.pictures / max(seconds, 1e-9), store.num_bytes(rows) / 1e6
    return f"{root}: {done.pictures} frames in {seconds:.0f} s ({speed:.0f} frames/s), {size_mb:.1f} MB in {store.folder}"
