"""A labelled source, a film and failures in one training run: from three datasets and a JSON file to a checkpoint."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_mixture import BAD_EPISODE, write_mixture
from rich.console import Console

from tau0.checkpoint import CheckpointConfig, check_dimensions, config_from_json, load
from tau0.cli import run as run_command
from tau0.contract import Camera, ContractError
from tau0.data.description import Numbers
from tau0.data.episodes import DatasetError
from tau0.data.mixture import MixtureSpec, read_mixture
from tau0.data.windows import Rows
from tau0.model.wan_vae import WanAutoencoderConfig
from tau0.presets import tiny, wan5b
from tau0.tensors import Batch
from tau0.train.config import AutoencoderTraining, TrainConfig
from tau0.train.ingredients import absent_numbers, align_sources, geometry
from tau0.train.job import Callbacks, Job, RunPlan, checkpoint_config, open_source
from tau0.train.left_out import LeftOut
from tau0.train.loop import Networks, Progress, train
from tau0.train.masks import count_supervised
from tau0.train.parts import Place
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.recipe import Recipe, fitted
from tau0.train.run import prepare
from tau0.train.source import TrainingSource
from tau0.train.state import Average
from tiny import DIM, GROUP

LABELLED, FILM, FAILURES = range(3)
PRESET = tiny()
assert PRESET.autoencoder is not None
RECIPE = Recipe(
    name="tiny",
    model=PRESET.model,
    autoencoder=PRESET.autoencoder,
    train=TrainConfig(
        minutes=1e3,
        max_steps=4,
        workers=1,
        policy_batch=8,
        simulator_batch=6,
        warmup_steps=2,
        autoencoder=AutoencoderTraining(minutes=0.01, num_frames=60, batch=4),
    ),
)


@dataclass(frozen=True)
class Prepared:
    """A job, and what was said while it was made ready."""

    job: Job
    said: list[str]
    file: Path


@pytest.fixture(scope="module")
def prepared(copied_processes: None, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    del copied_processes
    folder = tmp_path_factory.mktemp("mixture")
    path, said = write_mixture(folder), list[str]()
    plan = RunPlan(recipe=RECIPE, mixture=read_mixture(path), out=folder / "run")
    return Prepared(job=prepare(plan, Callbacks(on_note=said.append)), said=said, file=path)


@pytest.fixture(scope="module")
def source(prepared: Prepared) -> TrainingSource:
    return open_source(prepared.job)[0]


def rows_of(source: TrainingSource, number: int, stream: str = "policy") -> Rows:
    rows = source.index.samples(stream)  # pyright: ignore[reportArgumentType]
    return rows[source.index.locate(rows)[0] == number]


class Recorder:
    """Keeps what it is told; stops after a number of steps."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[Progress] = []
        self._stop_at = stop_at

    def on_step(self, progress: Progress) -> bool:
        self.steps.append(progress)
        return progress.step == self._stop_at

    def on_checkpoint(self, networks: Networks, average: Average, progress: Progress) -> None:
        del networks, average, progress


def trained(job: Job, folder: Path, recorder: Recorder) -> Average:
    """What comes out of a run in this process."""
    folder.mkdir(exist_ok=True)
    source, checkpoint = open_source(job)
    recipe = job.recipe
    return train(Networks(checkpoint.model, None), source, recipe.train, recipe.sampling, folder, job.fingerprint, Place(), recorder)


def test_damaged_episode_is_left_out_and_said(prepared: Prepared):
    (bad,) = json.loads((prepared.job.out / "quarantine.json").read_text())
    assert (bad["source"], bad["episode"]) == ("failures", BAD_EPISODE)
    (sentence,) = prepared.said
    assert sentence.startswith(f"failures: 1 of 4 episodes left out, see quarantine.json; the first, episode {BAD_EPISODE}: ")
    assert not (prepared.job.out / "rejected.json").exists()


def test_every_source_supervises_what_it_contains(source: TrainingSource):
    demonstrated, filmed = (source.gather(rows_of(source, number)[:1]) for number in (LABELLED, FILM))
    failed = source.gather(rows_of(source, FAILURES, "simulator")[:1])
    assert count_supervised("policy", demonstrated) == {"policy_video": 4, "action": 36}
    assert count_supervised("simulator", demonstrated) == {"simulator_video": 4, "progress": 9}
    assert filmed.view_mask.tolist() == [[True, False]]
    assert count_supervised("policy", filmed) == {"policy_video": 2, "action": 0}
    assert count_supervised("simulator", filmed) == {"simulator_video": 0, "progress": 0}
    assert not filmed.state_mask.any()
    assert count_supervised("policy", failed)["action"] == 0
    assert count_supervised("simulator", failed) == {"simulator_video": 4, "progress": 9}
    assert failed.executed_mask.tolist() == failed.state_mask.tolist() == [[True, True, True, False]]
    assert (failed.executed_actions[..., 3] == 0).all()
    assert (failed.progress == -1).all()
    assert failed.weights.tolist() == [[1.0, 0.0, 0.5, 1.0]]
    assert len(rows_of(source, FAILURES)) == len(rows_of(source, FILM, "simulator")) == 0


def test_batch_is_its_samples_in_their_order(source: TrainingSource):
    rows = source.rows("policy", 3)
    assert len(set(source.index.locate(rows)[0].tolist())) == 2
    whole = source.gather(rows)
    for place, row in enumerate(rows):
        alone = source.gather(np.array([row]))
        for name in Batch.__dataclass_fields__:
            assert torch.equal(getattr(whole, name)[place], getattr(alone, name)[0]), name
    assert source.labels[source.label_of(rows[:1])[0]].split("/")[0] in source.describe(rows[:1])[0]


def test_statistics_of_sources_and_robots_are_in_the_checkpoint(prepared: Prepared, source: TrainingSource):
    config: CheckpointConfig = open_source(prepared.job)[1].config
    assert [facts.name for facts in config.sources] == ["metaworld", "film", "failures"]
    assert set(config.codecs) == {"metaworld-sawyer", "human", "one-arm"}
    assert config.codec == config.codecs["metaworld-sawyer"]
    assert config.embodiment.state_names[0] == "hand.x"
    action = source.sources[LABELLED].ingredient.aligned.action
    assert config.embodiment.action.low[0] <= float(action[:, 0].min())
    states = source.sources[FAILURES].ingredient.aligned.state
    np.testing.assert_allclose(config.codecs["one-arm"].state.mean[:3], states[:, :3].mean(axis=0), atol=1e-5)
    assert config.codecs["one-arm"].state.std[3] == 1.0
    assert config.absent == ()
    aligned = [samples.ingredient.aligned for samples in source.sources]
    assert absent_numbers(aligned[FAILURES:], DIM) == (3,)


def test_stopped_run_goes_on_and_ends_equal_bit_for_bit(prepared: Prepared, tmp_path: Path):
    whole, first, second = Recorder(), Recorder(stop_at=2), Recorder()
    expected = trained(prepared.job, tmp_path / "whole", whole)
    trained(prepared.job, tmp_path / "broken", first)
    average = trained(prepared.job, tmp_path / "broken", second)
    assert [step.step for step in (*first.steps, *second.steps)] == [1, 2, 3, 4]
    assert all(torch.equal(tensor, average.tensors[name]) for name, tensor in expected.tensors.items())
    assert {name for step in whole.steps for name in step.by_source} == {
        "policy_video/metaworld/demonstration",
        "policy_video/film/demonstration",
        "action/metaworld/demonstration",
        "simulator_video/metaworld/demonstration",
        "simulator_video/failures/failure",
        "progress/metaworld/demonstration",
        "progress/failures/failure",
    }


def test_command_trains_on_a_mixture(prepared: Prepared, tmp_path: Path):
    stream = io.StringIO()
    console = Console(file=stream, width=300)
    command = ["train", "tiny", "--data", prepared.file, "--out", tmp_path / "out", "--max-steps", "2", "--workers", "1"]
    command += ["--candidates", "2", "--autoencoder", prepared.job.out / "autoencoder"]
    assert run_command([str(word) for word in command], console, console) == 0, stream.getvalue()
    said = stream.getvalue()
    assert "failures: 1 of 4 episodes left out" in said
    assert "gate: threshold" in said
    config = config_from_json((tmp_path / "out" / "checkpoint" / "config.json").read_bytes())
    assert [camera.name for camera in config.embodiment.cameras] == ["front", "wrist"]
    assert "film: 3 episodes" in config.provenance["data"]
    conditioning = load(tmp_path / "out" / "checkpoint").model.config.conditioning
    assert conditioning is not None
    assert (conditioning.action_dim, conditioning.group) == (DIM, GROUP)


def test_fingerprint_changes_with_the_mixture_and_not_with_time(prepared: Prepared, source: TrainingSource):
    aligned = [samples.ingredient.aligned for samples in source.sources]
    recipe, mixture = prepared.job.recipe, prepared.job.plan.mixture
    heavier = replace(mixture, sources=(replace(mixture.sources[0], weight=2.0), *mixture.sources[1:]))
    elsewhere = replace(mixture, sources=tuple(replace(s, dataset=Path("/elsewhere") / s.dataset.name) for s in mixture.sources))
    assert recipe.fingerprint(mixture, aligned) == prepared.job.fingerprint
    assert recipe.fingerprint(elsewhere, aligned) == prepared.job.fingerprint
    assert replace(recipe, train=replace(recipe.train, minutes=9.0)).fingerprint(mixture, aligned) == prepared.job.fingerprint
    assert recipe.fingerprint(heavier, aligned) != prepared.job.fingerprint


def test_published_shape_is_fitted_to_a_mixture(prepared: Prepared, tmp_path: Path):
    gripper = {"right_gripper": Numbers(feature="action", at=(3,))}
    labelled = prepared.job.plan.mixture.sources[LABELLED]
    description = replace(labelled.description, sizes={}, state={}, action=gripper, advice={})
    mixture = MixtureSpec(
        layout="whole_body",
        rate_hz=30.0,
        cameras=tuple(Camera(name=role, height=192, width=256) for role in ("front", "wrist", "ceiling")),
        sources=(replace(labelled, description=description),),
        action_horizon=33,
        frame_stride=4,
    )
    aligned = align_sources(mixture)
    encoders = WanAutoencoderConfig(identity="a", latent_channels=48, stride=(4, 16, 16))
    recipe = Recipe(name="wan5b", model=wan5b().model, autoencoder=encoders, text="umt5-xxl", train=wan5b().train)
    recipe = fitted(recipe, mixture, aligned)
    assert recipe.model == wan5b().model
    job = Job(plan=RunPlan(recipe=recipe, mixture=mixture, out=tmp_path), fingerprint="")
    config = checkpoint_config(job, aligned)
    check_dimensions(config, "config")
    assert config.embodiment.action.gripper == (9, 19)
    assert config.simulator_actions is not None
    assert len(config.simulator_actions.held) == 6
    assert set(range(20)) - set(config.absent) == {19}
    window, pictures = geometry(mixture, EncoderFacts.of(encoders), 3)
    assert (window.frame_stride, pictures.frame_stride) == (16, 4)
    with pytest.raises(ContractError, match=r"is told 26 numbers, of which its policy has 20; layout 'dual_arm' has 20"):
        fitted(replace(recipe, embodiment=None), replace(mixture, layout="dual_arm"), align_sources(replace(mixture, layout="dual_arm")))


def only(mixture: MixtureSpec, *numbers: int) -> MixtureSpec:
    return replace(mixture, sources=tuple(mixture.sources[i] for i in numbers))


def test_film_alone_trains_the_policys_pictures_and_no_simulator(prepared: Prepared, tmp_path: Path):
    plan = replace(prepared.job.plan, recipe=RECIPE, mixture=only(prepared.job.plan.mixture, FILM), out=tmp_path)
    plan = replace(plan, mixture=replace(plan.mixture, cameras=plan.mixture.cameras[:1]), autoencoder_from=prepared.job.out / "autoencoder")
    job = prepare(plan, Callbacks())
    assert (job.recipe.train.policy_batch, job.recipe.train.simulator_batch) == (8, 0)
    recorder = Recorder(stop_at=1)
    trained(job, tmp_path / "state", recorder)
    assert recorder.steps[0].losses["action"] == 0
    assert recorder.steps[0].losses["policy_video"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: replace(m, action_horizon=10), r"action_horizon is 10, but 2 future frames, 4 rows apart .* need 9"),
        (lambda m: replace(m, cameras=(replace(m.cameras[0], height=40), m.cameras[1])), r"'front' is 40 x 32, .* multiples of 32 x 32"),
    ],
)
def test_mixture_that_does_not_fit_the_model_is_refused(
    prepared: Prepared, tmp_path: Path, change: Callable[[MixtureSpec], MixtureSpec], message: str
):
    plan = replace(prepared.job.plan, recipe=RECIPE, mixture=change(only(prepared.job.plan.mixture, LABELLED)), out=tmp_path)
    with pytest.raises(ContractError, match=message):
        prepare(replace(plan, autoencoder_from=prepared.job.out / "autoencoder"), Callbacks())


def test_source_of_which_half_is_bad_is_refused(source: TrainingSource):
    aligned = source.sources[FAILURES].ingredient.aligned
    assert len(LeftOut.of("failures", aligned, {0: "no pictures"}, {}).episodes) == 2
    with pytest.raises(DatasetError, match="3 of 4 episodes cannot be used"):
        LeftOut.of("failures", aligned, {0: "no pictures", 1: "no pictures"}, {})


def test_rejected_samples_are_said_with_their_reasons(source: TrainingSource):
    left_out = LeftOut.of("film", source.sources[FILM].ingredient.aligned, {}, {"state": 3, "action": 1})
    assert left_out.sentences() == ["film: samples rejected as outliers, of 60: 3 by their state, 1 by their action; see rejected.json"]
