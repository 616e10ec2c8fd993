"""What reaches the networks from a labelled source, a film and a rollout in one batch, as training itself puts it together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_mixture import write_mixture

from tau0.checkpoint import Checkpoint
from tau0.data.index import STREAMS, Stream
from tau0.data.mixture import read_mixture
from tau0.data.windows import Rows
from tau0.presets import tiny
from tau0.tensors import Batch
from tau0.train.config import AutoencoderTraining, TrainConfig
from tau0.train.draws import Draws
from tau0.train.job import Callbacks, RunPlan, open_source
from tau0.train.objective import SampleErrors, stream_errors, weighted_sum
from tau0.train.recipe import Recipe
from tau0.train.run import prepare
from tau0.train.source import TrainingSource

PRESET = tiny()
TRAIN = TrainConfig(workers=1, policy_batch=12, simulator_batch=12, autoencoder=AutoencoderTraining(minutes=0.01, num_frames=60, batch=4))
TERMS = {"policy": ("policy_video", "action"), "simulator": ("simulator_video", "progress")}
LABELLED, FILM, ROLLOUT = range(3)
Opened = tuple[TrainingSource, Checkpoint]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("together")
    assert PRESET.autoencoder is not None
    recipe = Recipe(name="tiny", model=PRESET.model, autoencoder=PRESET.autoencoder, train=TRAIN)
    job = prepare(RunPlan(recipe=recipe, mixture=read_mixture(write_mixture(folder)), out=folder / "run"), Callbacks())
    source, checkpoint = open_source(job)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in checkpoint.model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return source, checkpoint


def errors(opened: Opened, stream: Stream, rows: Rows, keep: np.ndarray) -> dict[str, SampleErrors]:
    """Of the samples at the places `keep` of a batch, each with the noise of its place."""
    source, checkpoint = opened
    batch, draws = source.gather(rows[keep]), Draws.of((0, 7), keep.tolist())
    return stream_errors(stream, checkpoint.model, batch, TRAIN, checkpoint.config.sampling, draws)


def largest_gradient(checkpoint: Checkpoint, loss: torch.Tensor) -> dict[str, float]:
    """By part of the world model, the largest absolute gradient; 0 where there is none."""
    model = checkpoint.model
    model.zero_grad(set_to_none=True)
    if loss.requires_grad:
        loss.backward(retain_graph=True)
    found: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        part = name.split(".")[0]
        size = 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
        found[part] = max(found.get(part, 0.0), size)
    return found


def of_source(opened: Opened, rows: Rows, number: int) -> np.ndarray:
    return np.flatnonzero(opened[0].index.locate(rows)[0] == number)


def test_a_film_teaches_pictures_and_its_action_gradient_is_exactly_zero(opened: Opened) -> None:
    source, checkpoint = opened
    rows = source.rows("policy", 1)
    film, labelled = of_source(opened, rows, FILM), of_source(opened, rows, LABELLED)
    assert len(film)
    assert len(labelled)
    assert len(film) + len(labelled) == len(rows)
    seen = errors(opened, "policy", rows, film)
    assert float(seen["action"].total.detach().abs().max()) == 0
    assert set(largest_gradient(checkpoint, seen["action"].mean()).values()) == {0.0}
    both = largest_gradient(checkpoint, weighted_sum(seen, TRAIN))
    expert = [part for part in both if "action" in part]
    assert expert
    assert both["trunk"] > 0
    assert all(both[part] == 0 for part in expert)
    told = largest_gradient(checkpoint, weighted_sum(errors(opened, "policy", rows, labelled), TRAIN))
    assert all(told[part] > 0 for part in expert)


def test_labels_that_are_not_known_teach_no_progress(opened: Opened) -> None:
    source, checkpoint = opened
    rows = source.rows("simulator", 1)
    batch = source.gather(rows)
    draws = Draws.of((0, 7), range(len(rows)))
    unknown = torch.zeros_like(batch.progress_mask)
    hidden = Batch(**{**vars(batch), "progress_mask": unknown, "progress": torch.full_like(batch.progress, torch.nan)})
    found = stream_errors("simulator", checkpoint.model, hidden, TRAIN, checkpoint.config.sampling, draws)
    assert set(largest_gradient(checkpoint, found["progress"].mean()).values()) == {0.0}
    parts = largest_gradient(checkpoint, weighted_sum(found, TRAIN))
    assert parts["trunk"] > 0
    assert parts["progress_expert"] == 0


@pytest.mark.parametrize("stream", STREAMS)
def test_each_sources_loss_is_the_same_number_alone_and_among_others(opened: Opened, stream: Stream) -> None:
    rows = opened[0].rows(stream, 2)
    together = errors(opened, stream, rows, np.arange(len(rows)))
    numbers = opened[0].index.locate(rows)[0]
    assert len(set(numbers.tolist())) > 1
    for number in set(numbers.tolist()):
        own = of_source(opened, rows, number)
        alone = errors(opened, stream, rows, own)
        for term in TERMS[stream]:
            assert together[term].kept[own].tolist() == alone[term].kept.tolist()
            torch.testing.assert_close(together[term].total[own], alone[term].total, rtol=2e-5, atol=1e-5)


def test_a_film_never_reaches_the_simulator_nor_a_rollout_the_policy(opened: Opened) -> None:
    source = opened[0]
    for step in range(5):
        assert ROLLOUT not in source.index.locate(source.rows("policy", step))[0]
        assert FILM not in source.index.locate(source.rows("simulator", step))[0]
