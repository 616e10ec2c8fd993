"""A run that is ready to train its world model, and what its processes make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from tau0.checkpoint import Checkpoint, CheckpointConfig, SimulatorActions, build
from tau0.data.aligned import AlignedSource
from tau0.data.index import SamplingSpec
from tau0.data.mixture import MixtureSpec
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.text import SentenceEncoder
from tau0.model.wan_vae import WanAutoencoderConfig
from tau0.train.ingredients import (
    absent_numbers,
    align_sources,
    geometry,
    open_ingredients,
    own_robot,
    robot_codecs,
    source_facts,
)
from tau0.train.loop import Progress
from tau0.train.picture_encoder import EncoderFacts, PictureEncoder
from tau0.train.recipe import Recipe
from tau0.train.rejection import kept_rejections
from tau0.train.samples import first_numbers
from tau0.train.source import TrainingSource
from tau0.train.stage_one import load_autoencoder
from tau0.worlds.registry import known_limits

CHECKPOINT_FOLDER, AUTOENCODER_FOLDER, REJECTIONS_FOLDER = "checkpoint", "autoencoder", ".rejections"


class TrainingFailedError(RuntimeError):
    """A training process ended before its work was done; the message holds its error."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What is asked of a run.

    Attributes:
        recipe: What to train.
        mixture: What on.
        out: Folder of the run.
        provenance: What the checkpoint says about its making.
        autoencoder_from: A folder with an autoencoder to use instead of training one.
        cache: Folder for rows and latents of all datasets; beside each unless given.
    """

    recipe: Recipe
    mixture: MixtureSpec
    out: Path
    provenance: Mapping[str, str] = field(default_factory=dict)
    autoencoder_from: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """How a run is watched. `on_checkpoint` gets the folder of a complete checkpoint and the share of the run done."""

    on_stage: Callable[[str, float, str], None] = lambda _stage, _fraction, _text: None
    on_note: Callable[[str], None] = lambda _sentence: None
    on_step: Callable[[Progress], None] = lambda _progress: None
    on_checkpoint: Callable[[Path, float], None] = lambda _folder, _fraction: None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ready to train its world model: autoencoder and latents are there.

    Attributes:
        plan: What was asked, with the recipe fitted to the mixture.
        fingerprint: Of everything that must not change while the run goes on.
    """

    plan: RunPlan
    fingerprint: str

    @property
    def recipe(self) -> Recipe:
        """What to train."""
        return self.plan.recipe

    @property
    def out(self) -> Path:
        """Folder of the run."""
        return self.plan.out


def open_source(job: Job, *, is_empty: bool = False, device: str = "cpu") -> tuple[TrainingSource, Checkpoint]:
    """The samples of a job, and its checkpoint with fresh networks, which are the same on every process.

    Args:
        job: Whose.
        is_empty: World models take no memory yet.
        device: Where pictures from video are encoded, as torch says it.
    """
    recipe, config, mixture, cache = job.recipe, job.recipe.train, job.plan.mixture, job.plan.cache
    sources, facts = align_sources(mixture, cache=cache), EncoderFacts.of(_autoencoder(recipe, job.out))
    window, pictures = geometry(mixture, facts, recipe.sampling.num_memory)
    codecs = robot_codecs(sources)
    own = [codecs[source.description.embodiment] for source in sources]
    rejections = [kept_rejections(job.out / REJECTIONS_FOLDER, codec, source, window) for codec, source in zip(own, sources, strict=True)]
    sampling = SamplingSpec(
        policy_batch=config.policy_batch, simulator_batch=config.simulator_batch, weighing=mixture.weighing(), seed=config.seed
    )
    torch.manual_seed(config.seed)
    checkpoint = build(checkpoint_config(job, sources), is_empty=is_empty)
    if isinstance(recipe.autoencoder, AutoencoderConfig):
        checkpoint.autoencoder.load_state_dict(load_autoencoder(recipe.autoencoder, job.out / AUTOENCODER_FOLDER).state_dict())
    encoder = PictureEncoder(checkpoint.autoencoder, device if recipe.pictures.read == "video" else "cpu")
    seen = [recipe.pictures.open(source, pictures, encoder, cache) for source in sources]
    ingredients = open_ingredients(mixture, sources, seen, codecs, rejections)
    return TrainingSource(ingredients, checkpoint.text, window, sampling, policy_dim=recipe.policy_dim), checkpoint


def checkpoint_config(job: Job, sources: Sequence[AlignedSource]) -> CheckpointConfig:
    """What the checkpoint says about itself. With two models, each carries only its own parts."""
    recipe, mixture = job.recipe, job.plan.mixture
    shared, codecs = recipe.train.shared_trunk, robot_codecs(sources)
    told = codecs[own_robot(sources)]
    held = None
    if recipe.policy_dim is not None:
        held = SimulatorActions(codec=told, held=told.action.mean[recipe.policy_dim :])
    assert recipe.embodiment is not None
    return CheckpointConfig(
        name=recipe.name,
        embodiment=recipe.embodiment,
        codec=told if recipe.policy_dim is None else first_numbers(told, recipe.policy_dim),
        model=recipe.model if shared else replace(recipe.model, conditioning=None, progress=None),
        simulator=None if shared else replace(recipe.model, action=None),
        simulator_actions=held,
        autoencoder=recipe.autoencoder,
        text=recipe.text or SentenceEncoder(recipe.model.trunk.text_length).identity,
        absent=absent_numbers(sources, recipe.embodiment.action.dim),
        sampling=recipe.sampling,
        sources=source_facts(mixture, sources),
        codecs=codecs,
        safety=known_limits(recipe.embodiment),
        provenance=dict(job.plan.provenance),
    )


def _autoencoder(recipe: Recipe, out: Path) -> Autoencoder | WanAutoencoderConfig:
    """The run's own autoencoder, or what is known of a published one."""
    if isinstance(recipe.autoencoder, AutoencoderConfig):
        return load_autoencoder(recipe.autoencoder, out / AUTOENCODER_FOLDER)
    return recipe.autoencoder
