"""Windows that training did not see, as a finished checkpoint sees them."""

from __future__ import annotations

from pathlib import Path

from tau0.actions import ActionCodec
from tau0.checkpoint import Checkpoint
from tau0.data.aligned import AlignedSource
from tau0.data.index import SamplingSpec
from tau0.data.mixture import MixtureSpec
from tau0.data.split import Split
from tau0.train.clips import PictureSpec
from tau0.train.ingredients import align_sources, geometry, open_ingredients
from tau0.train.picture_encoder import EncoderFacts, PictureEncoder
from tau0.train.pictures import PictureSource
from tau0.train.pictures_cached import CachedLatents, MissingLatentsError
from tau0.train.pictures_video import LatentsFromVideo
from tau0.train.rejection import Rejections
from tau0.train.source import TrainingSource


def held_out_source(
    checkpoint: Checkpoint, mixture: MixtureSpec, seed: int = 0, split: Split = "validation", cache: Path | None = None
) -> TrainingSource:
    """A split of a mixture, encoded by the checkpoint's own encoders and codecs. Latents that were encoded ahead of time are taken.

    `gather` and `index.samples` of the result give windows; a stream may be empty.

    Args:
        checkpoint: Encoders and codecs.
        mixture: What it was trained on, or with split "all" something that it was not trained on.
        seed: Of the order of samples.
        split: Which episodes.
        cache: Folder with rows and latents of all datasets; beside each unless given.

    Raises:
        ContractError: When a dataset is not what its description says, or its pictures do not fit the autoencoder.
        DatasetError: When a dataset cannot be used.
    """
    config, sources = checkpoint.config, align_sources(mixture, cache=cache)
    facts = EncoderFacts.of(checkpoint.autoencoder)
    window, pictures = geometry(mixture, facts, config.sampling.num_memory)
    seen = [_pictures(source, pictures, checkpoint, cache) for source in sources]
    codecs = {source.description.embodiment: _codec(checkpoint, source.description.embodiment) for source in sources}
    ingredients = open_ingredients(mixture, sources, seen, codecs, [Rejections()] * len(sources))
    sampling = SamplingSpec(policy_batch=0, simulator_batch=0, seed=seed, weighing=mixture.weighing())
    return TrainingSource(ingredients, checkpoint.text, window, sampling, split, config.embodiment.action.dim)


def _codec(checkpoint: Checkpoint, robot: str) -> ActionCodec:
    """What a robot's numbers are normalised by: its own statistics, or those of the checkpoint's robot where it was never seen."""
    config, actions = checkpoint.config, checkpoint.config.simulator_actions
    return config.codecs.get(robot, config.codec if actions is None else actions.codec)


def _pictures(source: AlignedSource, spec: PictureSpec, checkpoint: Checkpoint, cache: Path | None) -> PictureSource:
    encoder = PictureEncoder(checkpoint.autoencoder)
    try:
        return CachedLatents(source, spec, encoder.facts, cache)
    except MissingLatentsError:
        return LatentsFromVideo(source, spec, encoder)
