"""What a recording itself shows; the whole report card of a tiny checkpoint, with pictures and films; the same by command."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_wan import save_small_vae
from PIL import Image
from rich.console import Console

from tau0.checkpoint import Checkpoint, save
from tau0.cli import run
from tau0.data.episodes import Dataset
from tau0.data.schema import STATE
from tau0.evaluate.simulator_card import CardSpec, measure_simulator
from tau0.evaluate.simulator_picture import WIDTH, card_picture
from tau0.evaluate.simulator_results import SimulatorCard
from tau0.evaluate.simulator_rollouts import Film
from tau0.evaluate.simulator_table import picture_table, simulator_markdown, simulator_table
from tau0.model.wan_vae import load_wan_autoencoder
from tau0.train.held_out import held_out_source
from tau0.train.ingredients import dataset_mixture
from tau0.train.recorded import RecordedTruth
from tau0.train.source import TrainingSource
from tiny import EMBODIMENT, NUM_FUTURE

SMALL = CardSpec(per_kind=3, pictures_per_kind=2, rollouts=2, has_pictures=True)


@pytest.fixture(scope="module")
def source(checkpoint: Checkpoint, dataset: Dataset) -> TrainingSource:
    return held_out_source(checkpoint, dataset_mixture(dataset.root, EMBODIMENT, NUM_FUTURE), split="all")


def test_pictures_and_states_are_the_recordings(source: TrainingSource, dataset: Dataset):
    truth, (first, second) = RecordedTruth(source, EMBODIMENT.cameras), dataset.episodes[:2]
    rows = np.array([second.start + 3, first.start, second.start + 1, first.start])
    pictures = truth.pictures(rows)
    assert pictures.shape == (4, 2, 32, 32, 3)
    for view, camera in enumerate(dataset.cameras):
        of_first, of_second = (dataset.frames(episode, camera) for episode in (first, second))
        assert np.array_equal(pictures[:, view], np.stack([of_second[3], of_first[0], of_second[1], of_first[0]]))
    np.testing.assert_allclose(truth.states(rows), dataset.columns([STATE])[STATE][rows])


@pytest.fixture(scope="module")
def measured(checkpoint: Checkpoint, source: TrainingSource):
    films: list[Film] = []
    shares: list[float] = []
    truth = RecordedTruth(source, EMBODIMENT.cameras)
    card = measure_simulator(checkpoint, source.gather, source.episodes(), SMALL, shares.append, truth, None, films.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    return card, films


def test_card_of_a_tiny_checkpoint_has_every_part(measured):
    card, films = measured
    assert card.pictures is not None
    assert card.rollouts is not None
    assert card.physics is None
    assert card.pictures.perceptual == ""
    assert card.pictures_many_steps is not None
    one, other = (c.views["front"]["psnr_db"][0] for c in (card.pictures, card.pictures_many_steps))
    assert one.copied.estimate == other.copied.estimate
    assert one.imagined.estimate != other.imagined.estimate
    assert set(card.pictures.views) == {"front", "wrist"}
    for measures in card.pictures.views.values():
        assert list(measures) == ["psnr_db", "ssim"]
        assert [horizon.seconds for horizon in measures["psnr_db"]] == pytest.approx([0.4, 0.8])
        for horizon in (*measures["psnr_db"], *measures["ssim"]):
            assert horizon.gain.estimate == pytest.approx(horizon.imagined.estimate - horizon.copied.estimate)
    assert card.rollouts.num_rollouts == 2
    assert all(frame.psnr_imagined_db is not None for frame in card.rollouts.frames)
    assert len(films) == 2
    for film in films:
        assert film.real.shape == film.imagined.shape == (len(film.seconds), 2, 32, 32, 3)


def test_card_as_tables_json_and_picture(measured):
    card, films = measured
    console = Console(file=io.StringIO(), width=150)
    console.print(simulator_table(card, "tiny"), picture_table(card.pictures))
    said = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "long rollouts" in said
    assert "No perceptual distance" in said
    assert json.loads(card.to_json())["rollouts"]["num_rollouts"] == 2
    assert SimulatorCard.from_json(card.to_json()) == card
    written = simulator_markdown(card).splitlines()
    assert {line.count("|") for line in written if line.startswith("|")} == {5, 8}
    assert sum("SSIM" in line for line in written) == 8
    picture = card_picture(card, films, "tiny")
    assert picture.width == WIDTH
    assert len(picture.getcolors(2**24) or []) > 50


def test_evaluate_simulator_is_the_card(checkpoint: Checkpoint, data: Path, tmp_path: Path):
    save(checkpoint, tmp_path / "checkpoint")
    out, printed = tmp_path / "made" / "card.json", io.StringIO()
    arguments = ["evaluate", "simulator", str(tmp_path / "checkpoint"), "--data", str(data), "--unseen", "--windows", "3"]
    arguments += ["--picture-windows", "1", "--rollouts", "1", "--out", str(out)]
    assert run(arguments, Console(file=printed, width=150), Console(file=printed)) == 0
    assert "futures as pictures" in printed.getvalue()
    assert json.loads(out.read_text())["num_windows"]["failure"] == 3
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.format == "PNG"


def test_card_with_an_autoencoder_that_shrinks_time(checkpoint: Checkpoint, dataset: Dataset, tmp_path: Path):
    wan = load_wan_autoencoder(save_small_vae(tmp_path / "vae"))
    body = replace(EMBODIMENT, frame_stride=1)
    config = replace(checkpoint.config, embodiment=body, autoencoder=wan.config)
    shrinking = replace(checkpoint, config=config, autoencoder=wan)
    source = held_out_source(shrinking, dataset_mixture(dataset.root, body, NUM_FUTURE), split="all")
    films: list[Film] = []
    truth, spec = RecordedTruth(source, body.cameras), CardSpec(per_kind=1, pictures_per_kind=1, rollouts=1)
    card = measure_simulator(shrinking, source.gather, source.episodes(), spec, recorded=truth, on_film=films.append)
    assert card.pictures is not None
    assert card.rollouts is not None
    assert [round(horizon.seconds, 6) for horizon in card.pictures.views["wrist"]["ssim"]] == [round(0.1 * (i + 1), 6) for i in range(8)]
    assert films[0].seconds == pytest.approx([0.4 * i for i in range(len(films[0].seconds))])
    assert films[0].real.shape == films[0].imagined.shape
