"""Stage one of a run: its autoencoder, trained once and kept in the run's folder, or taken from elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from tau0.checkpoint import AUTOENCODER_NAME, CheckpointError
from tau0.contract import Camera
from tau0.data.aligned import AlignedSource
from tau0.folders import recover_files, save_files
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.weights import WeightsError, load_exactly
from tau0.train.autoencoder import train_autoencoder
from tau0.train.config import AutoencoderTraining
from tau0.train.parallel import threads

RECIPE_NAME, REPORT_NAME = "recipe.json", "report.json"
SHA256 = "sha256"


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """Everything that decides which autoencoder comes out."""

    config: AutoencoderConfig
    training: AutoencoderTraining
    cameras: Sequence[Camera]
    seed: int

    def described(self, sources: Sequence[AlignedSource]) -> dict[str, Any]:
        """As JSON, flat, with the size of the sources."""
        names, rows = [camera.name for camera in self.cameras], sum(source.num_rows for source in sources)
        own = {"cameras": names, "seed": self.seed, "rows": rows}
        return {**asdict(self.config), **asdict(self.training), **own}


def ready_autoencoder(
    recipe: AutoencoderRecipe,
    sources: Sequence[AlignedSource],
    folder: Path,
    workers: int,
    source: Path | None = None,
    on_step: Callable[[float, float], None] = lambda _fraction, _loss: None,
) -> Autoencoder:
    """The autoencoder in `folder`: the one that is there, or a copy of the one in `source`, or a new one.

    Args:
        recipe: How to train it.
        sources: What it is trained on.
        folder: Of the run; written as a whole.
        workers: Threads of training.
        source: A folder with an autoencoder to take instead: of another run, or a checkpoint.
        on_step: Gets the share of time used and the loss.

    Raises:
        CheckpointError: When `folder` holds one that was made otherwise, or `source` none that fits.
        DatasetError: When a camera has no picture that can be read.
    """
    recover_files(folder)
    wanted = recipe.described(sources) if source is None else {SHA256: _sha256(source / AUTOENCODER_NAME)}
    if folder.is_dir():
        _check_recipe(folder, wanted)
        return load_autoencoder(recipe.config, folder)
    texts = {RECIPE_NAME: json.dumps(wanted, indent=1)}
    if source is not None:
        model = load_autoencoder(recipe.config, source)
    else:
        with threads(workers):
            model, report = train_autoencoder(recipe.config, recipe.training, sources, recipe.cameras, recipe.seed, on_step)
        texts[REPORT_NAME] = json.dumps(asdict(report), indent=1)
    save_files(folder, {AUTOENCODER_NAME: model.state_dict()}, texts)
    return load_autoencoder(recipe.config, folder)


def load_autoencoder(config: AutoencoderConfig, folder: Path) -> Autoencoder:
    """The autoencoder whose weights are in `folder`, in evaluation mode. Raises `CheckpointError` when it holds none that fits."""
    path, model = folder / AUTOENCODER_NAME, Autoencoder(config)
    try:
        load_exactly(model, load_file(path), str(path))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no autoencoder: it has no {path.name}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    except WeightsError as error:
        raise CheckpointError(str(error)) from None
    return model.eval()


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} holds no autoencoder: it has no {path.name}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_recipe(folder: Path, wanted: dict[str, Any]) -> None:
    """Refuses an autoencoder that was made from other numbers than this run asks for. One that does not say is taken."""
    path = folder / RECIPE_NAME
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    if wanted.keys() == {SHA256}:
        found = {SHA256: found.get(SHA256, _sha256(folder / AUTOENCODER_NAME))}
    elif SHA256 in found:
        raise CheckpointError(f"{folder} was taken from elsewhere: say --autoencoder as before, or name another --out to train a new one")
    differing = [f"{name} {found.get(name)!r} instead of {value!r}" for name, value in wanted.items() if found.get(name) != value]
    if differing:
        raise CheckpointError(
            f"{folder} was made with {', '.join(differing)}: remove it or name another --out to train a new one, "
            f"or keep it with the numbers it was made with"
        )
