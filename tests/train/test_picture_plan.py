"""Training from latents, from changed latents and from video: the same samples where they should be, and as reproducible."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tau0.checkpoint import AUTOENCODER_NAME, CheckpointError
from tau0.data.episodes import Dataset
from tau0.folders import save_files
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.train.augmentation import Augmentation
from tau0.train.config import TrainConfig
from tau0.train.ingredients import dataset_mixture
from tau0.train.job import Callbacks, Job, RunPlan, open_source
from tau0.train.left_out import record_unseen
from tau0.train.loop import Networks, Progress, train
from tau0.train.parts import Place
from tau0.train.picture_plan import PicturePlan
from tau0.train.pictures_cached import CachedLatents
from tau0.train.pictures_video import LatentsFromVideo
from tau0.train.recipe import Recipe
from tau0.train.run import prepare
from tau0.train.state import Average
from tiny import EMBODIMENT, MODEL, tiny_config

pytestmark = pytest.mark.usefixtures("copied_processes")
OWN = AutoencoderConfig(latent_channels=6, stride=8, width=8)
RECIPE = Recipe(
    name="tiny",
    embodiment=EMBODIMENT,
    model=MODEL,
    autoencoder=OWN,
    train=TrainConfig(minutes=1e3, max_steps=3, workers=1, policy_batch=4, simulator_batch=3, warmup_steps=2, learning_rate=3e-3),
    sampling=tiny_config().sampling,
)
CHANGES = Augmentation(crop=0.8, brightness=0.3)
PLANS = {
    "latents": PicturePlan(),
    "video": PicturePlan(read="video"),
    "changed": PicturePlan(read="video", augmentation=CHANGES),
    "variants": PicturePlan(variants=3, augmentation=CHANGES),
}


class Stopper:
    """Stops after a step."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at

    def on_step(self, progress: Progress) -> bool:
        return progress.step == self._at

    def on_checkpoint(self, networks: Networks, average: Average, progress: Progress) -> None:
        del networks, average, progress


@pytest.fixture(scope="module")
def jobs(copied_processes: None, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Job]]:
    """A job of each plan, ready to be trained, with one cache for all. The dataset has none."""
    del copied_processes
    folder = tmp_path_factory.mktemp("plans")
    data = shutil.copytree(dataset.root, folder / "data", ignore=shutil.ignore_patterns(".*"))
    before = sorted(data.rglob("*"))
    torch.manual_seed(0)
    save_files(folder / "autoencoder", {AUTOENCODER_NAME: Autoencoder(OWN).state_dict()}, {})
    mixture = dataset_mixture(data, EMBODIMENT, RECIPE.sampling.num_future)
    plan = RunPlan(recipe=RECIPE, mixture=mixture, out=folder, autoencoder_from=folder / "autoencoder", cache=folder / "cache")
    yield {
        name: prepare(replace(plan, recipe=replace(RECIPE, pictures=pictures), out=folder / name), Callbacks())
        for name, pictures in PLANS.items()
    }
    assert sorted(data.rglob("*")) == before


def trained(job: Job, folder: Path, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """Averaged weights of a run in this process."""
    folder.mkdir(exist_ok=True)
    source, checkpoint = open_source(job)
    networks, stopper = Networks(checkpoint.model, None), Stopper(stop_at)
    return train(networks, source, job.recipe.train, job.recipe.sampling, folder, job.fingerprint, Place(), stopper).tensors


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_video_trains_what_latents_train_and_changes_can_be_resumed(jobs: dict[str, Job], tmp_path: Path):
    opened = {name: open_source(job)[0].sources[0].ingredient.pictures for name, job in jobs.items()}
    assert [name for name, pictures in opened.items() if isinstance(pictures, CachedLatents)] == ["latents", "variants"]
    assert isinstance(opened["video"], LatentsFromVideo)
    whole = {name: trained(job, tmp_path / f"{name}-whole") for name, job in jobs.items()}
    assert are_equal(whole["latents"], whole["video"])
    for name in ("changed", "variants"):
        assert not are_equal(whole["latents"], whole[name])
        trained(jobs[name], tmp_path / f"{name}-broken", stop_at=1)
        assert are_equal(whole[name], trained(jobs[name], tmp_path / f"{name}-broken"))


def test_what_could_not_be_seen_is_written_down(jobs: dict[str, Job], tmp_path: Path):
    source = open_source(jobs["video"])[0]
    assert record_unseen(tmp_path, source) == []
    pictures = source.sources[0].ingredient.pictures
    assert isinstance(pictures, LatentsFromVideo)
    pictures.unreadable[3] = "the file is gone"
    (said,) = record_unseen(tmp_path, source)
    assert said == "metaworld: samples of 1 episodes supervised nothing, see unseen.jsonl; the first, episode 3: the file is gone"
    expected = {"source": "metaworld", "episode": 3, "reason": "the file is gone"}
    assert json.loads((tmp_path / "unseen.jsonl").read_text()) == expected


def test_fingerprint_follows_what_is_seen_and_not_where_it_lies(jobs: dict[str, Job], tmp_path: Path):
    assert jobs["latents"].fingerprint == jobs["video"].fingerprint
    assert len({job.fingerprint for job in jobs.values()}) == 3
    elsewhere = prepare(replace(jobs["video"].plan, cache=tmp_path / "other"), Callbacks())
    assert elsewhere.fingerprint == jobs["video"].fingerprint
    assert [path.is_dir() for path in (tmp_path / "other").iterdir()] == [True]


def test_run_of_another_recipe_is_told_by_its_fields(jobs: dict[str, Job], tmp_path: Path):
    first = replace(jobs["latents"], plan=replace(jobs["latents"].plan, out=tmp_path))
    shutil.copytree(jobs["latents"].out, tmp_path, dirs_exist_ok=True)
    trained(first, tmp_path, stop_at=1)
    kept = json.loads((first.out / "recipes" / f"{first.fingerprint}.json").read_text())
    assert kept["recipe"]["train"]["seed"] == 0
    other = replace(RECIPE, train=replace(RECIPE.train, seed=7, loss=replace(RECIPE.train.loss, action=2.0)))
    with pytest.raises(
        CheckpointError, match=r"another recipe \(train\.loss\.action was 1\.0, is 2\.0; train\.seed was 0, is 7\): continue"
    ):
        trained(prepare(replace(first.plan, recipe=other), Callbacks()), first.out)
    changed = prepare(replace(first.plan, recipe=replace(RECIPE, pictures=PLANS["variants"])), Callbacks())
    with pytest.raises(CheckpointError, match=r"\(pictures\.brightness was absent, is 0\.3; .*; and 1 more\)"):
        trained(changed, first.out)
    (tmp_path / "recipes" / f"{first.fingerprint}.json").unlink()
    with pytest.raises(CheckpointError, match=rf"another recipe \({first.fingerprint}, this one is {changed.fingerprint}\)"):
        trained(changed, first.out)


@pytest.mark.parametrize("wrong", [{"variants": 2}, {"augmentation": CHANGES}, {"read": "video", "variants": 2, "augmentation": CHANGES}])
def test_plans_that_mean_nothing_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match="variants"):
        PicturePlan(**wrong)  # pyright: ignore[reportArgumentType]
