"""Pictures as latents: out of video and out of the cache, by role, at any rate, with either kind of autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_recording import FakeRecording, recording
from fake_wan import save_small_vae

from tau0.checkpoint import Checkpoint
from tau0.contract import Camera, ContractError
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.windows import Windows, WindowSpec
from tau0.model.autoencoder import Autoencoder
from tau0.model.wan_vae import WanAutoencoder, load_wan_autoencoder
from tau0.train.augmentation import Augmentation
from tau0.train.clips import ClipFinder, PictureSpec
from tau0.train.encode_worker import EncodeJob, OwnAutoencoder, PublishedAutoencoder, ShardWorker
from tau0.train.latent_store import LatentStore
from tau0.train.picture_encoder import EncoderFacts, PictureEncoder
from tau0.train.pictures import PictureSource, window_latents
from tau0.train.pictures_cached import CachedLatents, MissingLatentsError
from tau0.train.pictures_video import LatentsFromVideo
from tau0.views import pixels_to_tensor

CAMERAS = {"head": "front", "right_hand": "wrist"}
SPEC = PictureSpec(cameras=tuple(Camera(name=role, height=32, width=32) for role in ("head", "left_hand", "right_hand")), frame_stride=2)
CHANGES = Augmentation(seed=3, crop=0.8, brightness=0.3, contrast=0.3, saturation=0.3)


@pytest.fixture(scope="session")
def own(checkpoint: Checkpoint) -> Autoencoder:
    assert isinstance(checkpoint.autoencoder, Autoencoder)
    return checkpoint.autoencoder


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_vae(tmp_path_factory.mktemp("wan") / "vae")


@pytest.fixture(scope="session")
def wan(vae_folder: Path) -> WanAutoencoder:
    return load_wan_autoencoder(vae_folder)


@pytest.fixture
def write(own: Autoencoder, tmp_path: Path) -> Callable[..., LatentStore]:
    """Encodes a recording into a cache, in this process."""

    def encode(
        source: FakeRecording,
        autoencoder: OwnAutoencoder | PublishedAutoencoder | None = None,
        spec: PictureSpec = SPEC,
        augmentation: Augmentation | None = None,
        variants: int = 1,
    ) -> LatentStore:
        chosen = OwnAutoencoder.of(own) if autoencoder is None else autoencoder
        store = LatentStore(source, spec, EncoderFacts.of(chosen.load()), tmp_path / "cache")
        worker = ShardWorker(EncodeJob.of(store, chosen, augmentation))
        store.create()
        for task in store.missing(augmentation, variants):
            worker.encode(task)
        return store

    return encode


def assert_close(first: torch.Tensor, second: torch.Tensor) -> None:
    """As far as half precision goes: a batch of another size may round its last bit otherwise."""
    torch.testing.assert_close(first.float(), second.float(), rtol=2e-3, atol=2e-3)


def test_batches_of_any_size_reach_the_autoencoder_in_few(own: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, sizes = own.encode, list[int]()

    def counted(video: torch.Tensor) -> torch.Tensor:
        sizes.append(len(video))
        return encode(video)

    monkeypatch.setattr(own, "encode", counted)
    encoder, pictures = PictureEncoder(own, frames_at_once=12), np.random.default_rng(0).integers(0, 256, (29, 1, 32, 32, 3), np.uint8)
    whole = encoder.encode(list(pictures))
    assert sizes == [8, 8, 8, 4, 1]
    assert (np.concatenate([encoder.encode(list(pictures[:7])), encoder.encode(list(pictures[7:]))]) == whole).all()
    assert set(sizes) == {1, 2, 4, 8}


def test_stills_are_the_pictures_encoded_one_by_one(dataset: Dataset, own: Autoencoder) -> None:
    source = recording(dataset, CAMERAS, every=3)
    pictures = LatentsFromVideo(source, SPEC, PictureEncoder(own))
    rows = np.array([[0, 5], [source.episodes[1].start + 2, 5]])
    latents, present = pictures.latents(rows)
    assert latents.shape == (2, 3, 2, 1, 6, 4, 4)
    assert latents.dtype == torch.float16
    frames = pixels_to_tensor(dataset.frames(dataset.episodes[1], "wrist")[6:7])
    with torch.no_grad():
        assert_close(latents[1, 2, 0, 0], own.encode(frames[:, :, None])[0, :, 0])
    assert_close(latents[0, :, 1], latents[1, :, 1])
    assert present[..., 0].tolist() == [[[True] * 2, [False] * 2, [True] * 2]] * 2
    assert not latents[:, 1].any()


def test_a_window_is_its_frames_encoded_together(dataset: Dataset, wan: WanAutoencoder) -> None:
    source, first = recording(dataset, CAMERAS), dataset.episodes[1]
    pictures = LatentsFromVideo(source, SPEC, PictureEncoder(wan))
    rows = first.start + np.array([[0, 5, 6, 13, 14, 21]])
    latents, present = pictures.latents(rows)
    assert latents.shape == (1, 3, 6, 3, 6, 2, 2)
    last = first.length - 1
    exists = [[True, at + 8 <= last, at + 16 <= last] for at in (0, 5, 6, 13, 14, 21)]
    assert present[0, 0].tolist() == present[0, 2].tolist() == exists
    for k, at in enumerate((0, 5)):
        video = pixels_to_tensor(dataset.frames(first, "front")[at : at + 17 : 2])
        with torch.no_grad():
            assert_close(latents[0, 0, k], wan.encode(video.transpose(0, 1)[None])[0].transpose(0, 1))
    stills, _ = pictures.stills(rows)
    assert stills.shape == (1, 3, 6, 1, 6, 2, 2)
    assert_close(stills[:, :, :, 0], latents[:, :, :, 0])


def test_a_window_repeats_the_frame_before_what_is_missing(dataset: Dataset) -> None:
    source = recording(dataset, CAMERAS, missing=(3, 8))
    finder = ClipFinder(source, replace(SPEC, frame_stride=1, num_future=1), 4)
    clips, exists = finder.windows(np.array([0, 3, 4, 5, 20]))
    assert clips.frames.tolist() == [[0, 1, 2, 2, 4], [0, 4, 5, 6, 7], [4, 5, 6, 7, 7], [5, 6, 7, 7, 9], [20, 21, 21, 21, 21]]
    assert exists.tolist() == [[True, False], [False, False], [True, False], [True, False], [True, False]]
    assert finder.windows(np.array([9]))[1].tolist() == [[True, True]]
    with pytest.raises(IndexError, match="rows run from 0 to"):
        finder.windows(np.array([len(source.frames)]))


@pytest.mark.parametrize("kind", ["own", "wan"])
def test_cached_latents_equal_those_from_video(
    dataset: Dataset,
    own: Autoencoder,
    kind: str,
    request: pytest.FixtureRequest,
    write: Callable[..., LatentStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tau0.train.latent_store.SHARD_ROWS", 20)
    source = recording(dataset, CAMERAS, every=2, missing=(1,), without=(2,))
    autoencoder, folder = own, None
    if kind == "wan":
        autoencoder = request.getfixturevalue("wan")
        folder = PublishedAutoencoder(config=autoencoder.config, folder=request.getfixturevalue("vae_folder"))
    spec = replace(SPEC, frame_stride=1)
    store = write(source, folder, spec)
    assert len(store.shards) > 2
    cached = CachedLatents(source, spec, EncoderFacts.of(autoencoder), store.folder.parent)
    video = LatentsFromVideo(source, spec, PictureEncoder(autoencoder))
    rows = np.random.default_rng(0).integers(0, len(source.frames), (7, 5))
    rows[0] = 1
    for ask in ("latents", "stills"):
        (a, there), (b, also) = (getattr(pictures, ask)(rows) for pictures in (cached, video))
        assert torch.equal(there, also)
        assert not there[0].any()
        assert_close(a, b)
        assert a.abs().sum() > 0
    at = Windows(source.episodes, WindowSpec(action_horizon=9, frame_stride=4, num_future=2)).resolve(rows[1])
    both = [window_latents(pictures, at) for pictures in (cached, video)]
    assert both[0].latents.shape[:4] == (5, 3, 6, 3 + 1 + 2)
    assert torch.equal(both[0].present, both[1].present)
    assert_close(both[0].latents, both[1].latents)
    assert not both[0].present[:, 0, 4:][~torch.from_numpy(at.video_mask)].any()
    assert not both[0].latents.transpose(2, 3)[~both[0].present].any()


def test_latents_of_frames_serve_any_rate(dataset: Dataset, own: Autoencoder, write: Callable[..., LatentStore]) -> None:
    cache = write(recording(dataset, CAMERAS, every=3)).folder.parent
    source = recording(dataset, CAMERAS, every=2, without=(0,))
    pictures: tuple[PictureSource, ...] = (
        CachedLatents(source, SPEC, EncoderFacts.of(own), cache),
        LatentsFromVideo(source, SPEC, PictureEncoder(own)),
    )
    (a, _), (b, _) = (p.latents(np.arange(6).reshape(2, 3)) for p in pictures)
    assert_close(a, b)


def test_missing_latents_say_what_to_do(dataset: Dataset, own: Autoencoder, write: Callable[..., LatentStore]) -> None:
    source = recording(dataset, CAMERAS)
    with pytest.raises(MissingLatentsError, match=r"1 of 1 shards of latents are not in .*; encode them: tau0 encode"):
        CachedLatents(source, SPEC, EncoderFacts.of(own), dataset.root / "elsewhere")
    store = write(source)
    with pytest.raises(MissingLatentsError, match="1 of 2 shards"):
        CachedLatents(source, SPEC, store.facts, store.folder.parent, CHANGES, 2)
    with pytest.raises(ValueError, match="2 variants without an augmentation"):
        CachedLatents(source, SPEC, store.facts, store.folder.parent, None, 2)


def test_damaged_latents_are_named(dataset: Dataset, write: Callable[..., LatentStore]) -> None:
    source = recording(dataset, CAMERAS)
    store = write(source)
    path = store.folder / "plain" / "shard-000000.npy"
    whole = path.read_bytes()
    for content, said in ((b"", "damaged"), (whole[:-4], "damaged"), (whole.replace(b"(174, ", b"(87, 2, ").ljust(10), "expected float16")):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=rf"shard-000000\.npy .*{said}.*: remove it, and encode again"):
            CachedLatents(source, SPEC, store.facts, store.folder.parent)
    path.write_bytes(whole)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(DatasetError, match=r"shard-000000\.json is damaged"):
        CachedLatents(source, SPEC, store.facts, store.folder.parent)


def test_changes_are_a_function_of_seed_sample_and_epoch(dataset: Dataset, own: Autoencoder) -> None:
    source = recording(dataset, CAMERAS)
    plain, changed, again = (LatentsFromVideo(source, SPEC, PictureEncoder(own), a) for a in (None, CHANGES, CHANGES))
    rows = np.array([[0, 4], [30, 4], [60, 4]])
    samples = np.array([4, 31, 4])
    first, _ = changed.latents(rows, samples, epoch=1)
    assert_close(first[[2, 0]], again.latents(rows[[2, 0]], samples[[2, 0]], epoch=1)[0])
    assert_close(first[0, :, 1], first[2, :, 1])
    assert (first[0, 0, 1] - first[1, 0, 1]).abs().max() > 0.01
    assert (first - changed.latents(rows, samples, epoch=2)[0]).abs().max() > 0.01
    assert (first - plain.latents(rows)[0]).abs().max() > 0.01
    none = Augmentation(crop=1.0, brightness=0, contrast=0, saturation=0)
    assert_close(LatentsFromVideo(source, SPEC, PictureEncoder(own), none).latents(rows)[0], plain.latents(rows)[0])


def test_all_frames_of_a_sample_are_changed_alike() -> None:
    draw = CHANGES.draw(7, 0, num_views=2)
    video = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1, -1) * 2 - 1
    for view in range(2):
        changed = draw(video, view)
        assert changed.shape == video.shape
        assert torch.equal(changed, draw(video[:1], view).expand(4, -1, -1, -1))
        assert changed.abs().max() <= 1
    assert not torch.equal(draw(video, 0), draw(video, 1))
    with pytest.raises(ValueError, match="crop must be above 0"):
        Augmentation(crop=0)


def test_variants_are_chosen_among_those_encoded(dataset: Dataset, own: Autoencoder, write: Callable[..., LatentStore]) -> None:
    source = recording(dataset, CAMERAS)
    store = write(source, augmentation=CHANGES, variants=3)
    cached = CachedLatents(source, SPEC, store.facts, store.folder.parent, CHANGES, 3)
    branch = next(episode for episode in source.episodes if episode.kind == "branch")
    row, encoder = branch.start + 2, PictureEncoder(own)
    wanted = []
    for variant in range(3):
        draws = None if variant == 0 else [CHANGES.draw(branch.parent, variant, 3)]
        wanted.append(encoder.encode([dataset.frames(branch, "wrist")[2:3]], draws, view=2)[0, 0])
    seen = {
        int(np.argmin([np.abs(cached.latents(np.array([[row]]), epoch=e)[0][0, 2, 0, 0].numpy() - w).max() for w in wanted]))
        for e in range(12)
    }
    assert seen == {0, 1, 2}
    for epoch in range(4):
        variant = CHANGES.variant(row, epoch, 3)
        assert_close(cached.latents(np.array([[row]]), epoch=epoch)[0][0, 2, 0, 0], torch.from_numpy(wanted[variant]))


def test_pictures_that_cannot_be_read_are_absent_and_named(shared: Path, own: Autoencoder, write: Callable[..., LatentStore]) -> None:
    source = recording(Dataset.open(shared / "corrupt/truncated_mp4_index_first"), {"head": "exterior_1", "right_hand": "wrist"})
    video = LatentsFromVideo(source, SPEC, PictureEncoder(own))
    _, present = video.latents(np.array([[0, 25]]))
    assert present[0, :, :, 0].tolist() == [[True, True], [False, False], [False, False]]
    store = write(source)
    cached = CachedLatents(source, SPEC, store.facts, store.folder.parent)
    assert torch.equal(cached.latents(np.array([[0, 25]])).present, present)
    assert video.latents(np.array([[0]])).present[0, :, 0, 0].tolist() == [True, False, True]
    assert "wrist/chunk-000/file-000.mp4 has no frame at 5.000 s" in video.unreadable[0]
    assert "wrist/chunk-000/file-000.mp4 is damaged: frame 19 of episode 0" in cached.unreadable[0]


def test_cameras_that_do_not_fit_are_refused(dataset: Dataset, own: Autoencoder) -> None:
    encoder = PictureEncoder(own)
    with pytest.raises(DatasetError, match="its description says that 'head' is the camera 'fron', but it has front, wrist"):
        LatentsFromVideo(recording(dataset, {"head": "fron"}), SPEC, encoder)
    with pytest.raises(
        DatasetError, match="none of the cameras that the model sees: wanted head, left_hand, right_hand; described are tail"
    ):
        LatentsFromVideo(recording(dataset, {"tail": "front"}), SPEC, encoder)
    with pytest.raises(ContractError, match="in steps of 8 x 8 pixels, got 30 x 32"):
        LatentsFromVideo(recording(dataset, CAMERAS), PictureSpec(cameras=(Camera(name="head", height=30, width=32),)), encoder)
    sizes = (Camera(name="head", height=32, width=32), Camera(name="right_hand", height=32, width=64))
    with pytest.raises(ContractError, match="must have one size, got head 32 x 32, right_hand 32 x 64"):
        LatentsFromVideo(recording(dataset, CAMERAS), PictureSpec(cameras=sizes), encoder)
    with pytest.raises(ValueError, match="different roles"):
        PictureSpec(cameras=(sizes[0], sizes[0]))
