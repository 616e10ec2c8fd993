"""A whole training run in one folder: sources, autoencoder, latents, world model, checkpoint. Every stage is skipped when it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tau0.checkpoint import CheckpointError
from tau0.data.aligned import AlignedSource
from tau0.folders import recover_files
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.encoders import VAE, PublishedEncoders
from tau0.model.wan_vae import WanAutoencoderConfig
from tau0.train.encode_crew import EncodingFailedError
from tau0.train.encode_run import encode_source, local_crew, unreadable
from tau0.train.encode_worker import OwnAutoencoder, PublishedAutoencoder
from tau0.train.ingredients import align_sources, geometry, robot_codecs, source_names
from tau0.train.job import (
    AUTOENCODER_FOLDER,
    CHECKPOINT_FOLDER,
    REJECTIONS_FOLDER,
    Callbacks,
    Job,
    RunPlan,
    TrainingFailedError,
    open_source,
)
from tau0.train.latent_store import LatentStore
from tau0.train.left_out import LeftOut, record_left_out
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.recipe import Recipe, fitted
from tau0.train.recipe_file import keep_recipe
from tau0.train.rejection import kept_rejections
from tau0.train.stage_one import AutoencoderRecipe, ready_autoencoder
from tau0.train.workers import run_workers

__all__ = ["CHECKPOINT_FOLDER", "Callbacks", "Job", "Recipe", "RunPlan", "TrainingFailedError", "open_source", "prepare", "run"]


def run(plan: RunPlan, callbacks: Callbacks) -> Path:
    """Trains, or goes on training, in the folder of the plan. Returns the folder of the checkpoint.

    Raises:
        CheckpointError: When the run's autoencoder was made otherwise, or the given one does not fit.
        ContractError: When a dataset is not what its description says, or does not fit the recipe.
        DatasetError: When a dataset cannot be used.
        TrainingFailedError: When a worker failed.
        KeyboardInterrupt: After everything was saved.
    """
    run_workers(prepare(plan, callbacks), callbacks)
    return plan.out / CHECKPOINT_FOLDER


def prepare(plan: RunPlan, callbacks: Callbacks, more: Mapping[str, Any] = MappingProxyType({})) -> Job:
    """Everything before the world model: what is there already not again. Errors as `run`.

    Args:
        plan: What is asked.
        callbacks: Who is told.
        more: JSON by name of what else would make resuming wrong if it changed.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    recover_files(plan.out / CHECKPOINT_FOLDER)
    sources = align_sources(
        plan.mixture,
        lambda name, done, total: callbacks.on_stage("rows", done / total, f"{name}: {done} of {total} episodes"),
        plan.cache,
    )
    plan = replace(plan, recipe=fitted(plan.recipe, plan.mixture, sources))
    autoencoder = _autoencoder(plan, sources, callbacks)
    left_out = _encode(plan, sources, autoencoder, callbacks)
    for sentence in record_left_out(plan.out, left_out):
        callbacks.on_note(sentence)
    unseen = {source.name: source.unseen for source in left_out if source.unseen}
    described = {**plan.recipe.described(plan.mixture, sources), **({"unseen": unseen} if unseen else {}), **more}
    return Job(plan=plan, fingerprint=keep_recipe(plan.out, described))


def _autoencoder(plan: RunPlan, sources: Sequence[AlignedSource], callbacks: Callbacks) -> Autoencoder | WanAutoencoderConfig:
    """The run's own, trained where it is not there; of a published one what is known of it."""
    recipe = plan.recipe
    if not isinstance(recipe.autoencoder, AutoencoderConfig):
        if plan.autoencoder_from is not None:
            raise CheckpointError(f"preset {recipe.name} uses a published autoencoder: it takes none from {plan.autoencoder_from}")
        return recipe.autoencoder
    stage_one = AutoencoderRecipe(
        config=recipe.autoencoder, training=recipe.train.autoencoder, cameras=plan.mixture.cameras, seed=recipe.train.seed
    )
    return ready_autoencoder(
        stage_one, sources, plan.out / AUTOENCODER_FOLDER, recipe.train.workers, plan.autoencoder_from,
        lambda fraction, loss: callbacks.on_stage("autoencoder", fraction, f"loss {loss:.4f}"),
    )  # fmt: skip


def _encode(
    plan: RunPlan, sources: Sequence[AlignedSource], autoencoder: Autoencoder | WanAutoencoderConfig, callbacks: Callbacks
) -> list[LeftOut]:
    """Latents of every source that are not there yet, where they are read, and what cannot be trained on."""
    recipe, facts, codecs, left_out = plan.recipe, EncoderFacts.of(autoencoder), robot_codecs(sources), []
    window, pictures = geometry(plan.mixture, facts, recipe.sampling.num_memory)
    for name, source in zip(source_names(plan.mixture), sources, strict=True):
        unseen: dict[int, str] = {}
        if recipe.pictures.read == "latents":
            store = LatentStore(source, pictures, facts, plan.cache)
            _fill(store, name, recipe, autoencoder, callbacks)
            unseen = {episode: reason for episode, _, reason in reversed(unreadable(store))}
        rejected = kept_rejections(plan.out / REJECTIONS_FOLDER, codecs[source.description.embodiment], source, window)
        left_out.append(LeftOut.of(name, source, unseen, rejected.counts))
    return left_out


def _fill(store: LatentStore, name: str, recipe: Recipe, autoencoder: Autoencoder | WanAutoencoderConfig, callbacks: Callbacks) -> None:
    """Encodes what is missing of one source's latents."""
    try:
        encode_source(
            store,
            OwnAutoencoder.of(autoencoder) if isinstance(autoencoder, Autoencoder) else _published(autoencoder),
            local_crew(recipe.train.workers),
            augmentation=recipe.pictures.augmentation,
            num_variants=recipe.pictures.variants,
            on_progress=lambda p: callbacks.on_stage("latents", p.shards_done / p.shards, f"{name}: {p.shards_done} of {p.shards} shards"),
            on_death=callbacks.on_note,
        )
    except EncodingFailedError as error:
        raise TrainingFailedError(str(error)) from error


def _published(config: WanAutoencoderConfig) -> PublishedAutoencoder:
    folder = PublishedEncoders.from_environment().folder
    if folder is None:
        raise CheckpointError("latents of the published autoencoder are needed: set TAU0_WAN to the folder of Wan 2.2")
    return PublishedAutoencoder(config=config, folder=folder / VAE)
