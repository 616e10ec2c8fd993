"""Windows that training did not see, as a finished checkpoint sees them."""

from __future__ import annotations

from tau0.checkpoint import Checkpoint, CheckpointError
from tau0.data.episodes import Dataset
from tau0.data.index import SamplingSpec
from tau0.data.split import Split, split_episodes
from tau0.data.windows import WindowSpec
from tau0.model.wan_vae import WanAutoencoder
from tau0.train.latents import encode_episodes
from tau0.train.source import TrainingSource


def held_out_source(checkpoint: Checkpoint, dataset: Dataset, seed: int = 0, split: Split = "validation") -> TrainingSource:
    """A split of the dataset, encoded by the checkpoint's own encoders and codec.

    `gather` and `index.samples` of the result give windows; rows outside the split have no latents.

    Args:
        checkpoint: Encoders and codec.
        dataset: The one it was trained on, or with split "all" one that it was not trained on.
        seed: Of the order of samples.
        split: Which episodes.

    Raises:
        CheckpointError: When the autoencoder shrinks time: cached latents are of single frames.
        ContractError: When the dataset does not fit the checkpoint's embodiment.
    """
    config = checkpoint.config
    if isinstance(checkpoint.autoencoder, WanAutoencoder):
        raise CheckpointError(f"{config.name!r} uses the Wan video autoencoder, which does not encode a dataset frame by frame")
    dataset.check_against(config.embodiment)
    cameras = [camera.name for camera in config.embodiment.cameras]
    latents = encode_episodes(dataset, checkpoint.autoencoder, cameras, split_episodes(dataset.episodes)[split])
    window = WindowSpec(
        action_horizon=config.embodiment.action_horizon,
        frame_stride=config.embodiment.frame_stride,
        num_future=config.sampling.num_future,
        num_memory=config.sampling.num_memory,
    )
    return TrainingSource(dataset, latents, config.codec, checkpoint.text, window, SamplingSpec(seed=seed), split=split)
