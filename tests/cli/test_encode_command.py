"""`tau0 encode`: what it says, that a second run does nothing, and that datasets stay as they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tau0.checkpoint import Checkpoint, save
from tau0.cli import run
from tau0.cli.errors import FAILED
from tau0.contract import Camera
from tau0.data.assemble import assemble
from tau0.data.descriptions import find_description
from tau0.data.episodes import Dataset
from tau0.data.schema import EpisodeRecord
from tau0.data.writer import UnitWriter
from tau0.train.clips import AsRecorded, PictureSpec
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.pictures_cached import CachedLatents
from tiny import EMBODIMENT

SHARED = Path(__file__).parents[3] / "shared" / "data"
DESCRIPTION = {"name": "fake", "kind": "egocentric", "embodiment": "fake", "cameras": {"head": "front", "right_hand": "wrist"}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "recorded"
    with UnitWriter(root, "only", EMBODIMENT) as writer:
        for seed, length in enumerate((12, 9)):
            writer.add(EpisodeRecord.fake(length, seed))
    assemble(root, ["only"], EMBODIMENT)
    return root


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save(checkpoint, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def encode(*arguments: object) -> tuple[int, str, str]:
    """Exit status, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    status = run(["encode", *map(str, arguments)], Console(file=out, width=400), Console(file=err, width=400))
    return status, out.getvalue(), err.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_datasets_are_encoded_once(data: Path, folder: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    before, description, cache = contents(data), tmp_path / "fake.json", tmp_path / "cache"
    description.write_text(json.dumps(DESCRIPTION))
    arguments = (data, "--description", description, "--autoencoder", folder, "--workers", 1, "--cache", cache)
    cameras = ("--cameras", "right_hand=16x24", "head=16x24", "left_hand=16x24")
    status, out, err = encode(*arguments, *cameras)
    assert (status, err) == (0, "")
    assert f"{data}: 42 frames in" in out
    assert "frames/s), 0.0 MB in" in out
    status, out, _ = encode(*arguments, *cameras)
    assert status == 0
    assert f"{data}: was complete already" in out
    assert contents(data) == before
    spec = PictureSpec(cameras=tuple(Camera(name=n, height=16, width=24) for n in ("left_hand", "head", "right_hand")))
    source = AsRecorded(dataset=Dataset.open(data), description=find_description(DESCRIPTION))
    with pytest.raises(ValueError, match="tau0 encode"):
        CachedLatents(source, spec, EncoderFacts.of(checkpoint.autoencoder), cache)
    spec = PictureSpec(cameras=tuple(Camera(name=n, height=16, width=24) for n in ("right_hand", "head", "left_hand")))
    latents, present = CachedLatents(source, spec, EncoderFacts.of(checkpoint.autoencoder), cache).latents(np.array([[0, 20]]))
    assert latents.shape == (1, 3, 2, 1, 6, 2, 3)
    assert present[0, :, 0, 0].tolist() == [True, True, False]


def test_a_real_mixture(folder: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs the real datasets in {SHARED}, which are not part of the repository")
    root = SHARED / "corrupt/truncated_mp4_index_first"
    mixture = {
        "layout": "dual_arm",
        "rate_hz": 5,
        "cameras": [{"name": role, "height": 32, "width": 40} for role in ("head", "right_hand")],
        "sources": [{"dataset": str(root), "description": "droid_v30"}],
    }
    (tmp_path / "mixture.json").write_text(json.dumps(mixture))
    status, out, err = encode(tmp_path / "mixture.json", "--autoencoder", folder, "--workers", 1, "--cache", tmp_path / "cache")
    assert status == 1
    assert f"{root}: episode 0 has no pictures of right_hand: " in err
    assert f"{root}: 66 frames in" in out
    source = AsRecorded(dataset=Dataset.open(root), description=find_description("droid_v30"))
    spec = PictureSpec(cameras=tuple(Camera(name=role, height=32, width=40) for role in ("head", "right_hand")))
    cached = CachedLatents(source, spec, EncoderFacts.of(checkpoint.autoencoder), tmp_path / "cache")
    assert cached.latents(np.array([[0, 32]])).present[0, :, :, 0].tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a mixture"),
        (("a.json", "b"), "a.json is a mixture, which goes alone"),
        (("a.json",), "a.json is not a file: expected a mixture in JSON"),
        (("nowhere", "--description", "metaworld"), "nowhere is not a folder"),
        (("nowhere",), "--description is missing"),
        (("nowhere", "--description", "metaword"), "did you mean 'metaworld'?"),
        (("nowhere", "--description", "metaworld", "--cameras", "head"), "--cameras 'head' is not a role with its height and width"),
        (("nowhere", "--workers", "0"), "--workers is 0, it must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: tuple[str, ...], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = encode(*arguments, "--autoencoder", folder)
    assert (status, out) == (FAILED, "")
    assert said in err
    assert encode(*arguments, "--autoencoder", tmp_path)[0] == FAILED


def test_the_shipped_autoencoder_by_its_word(data: Path, tmp_path: Path) -> None:
    arguments = ("--description", "metaworld", "--autoencoder", "shipped", "--workers", 1, "--cache", tmp_path / "cache")
    status, out, err = encode(data, *arguments)
    assert (status, err) == (0, "")
    assert f"{data}: 42 frames in" in out


def test_a_folder_without_an_autoencoder(data: Path) -> None:
    status, _, err = encode(data, "--description", "metaworld", "--autoencoder", data)
    assert status == FAILED
    assert "holds no autoencoder: expected a checkpoint, a run of `tau0 train`, or Wan 2.2 in diffusers' form" in err
