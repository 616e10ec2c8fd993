"""A checkpoint describes itself: a folder with `config.json` and safetensors, never pickle.

Everything that must agree between training and a robot is in the config; loading checks every piece of it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pydantic
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tau0.actions import ActionCodec
from tau0.contract import ContractError, Embodiment
from tau0.data.source_facts import SourceFacts
from tau0.folders import replace_text, save_files
from tau0.limits import SafetyLimits
from tau0.model.config import SamplingConfig, WorldModelConfig
from tau0.model.encoder_folder import EncoderFolderError
from tau0.model.encoders import AnyAutoencoder, AnyAutoencoderConfig, PublishedEncoders
from tau0.model.text import TextEncoder
from tau0.model.wan_vae import WanAutoencoder
from tau0.model.weights import WeightsError, load_exactly
from tau0.model.world_model import WorldModel

FORMAT_VERSION = 1
CONFIG_NAME, MODEL_NAME, AUTOENCODER_NAME, SIMULATOR_NAME = (
    "config.json",
    "model.safetensors",
    "autoencoder.safetensors",
    "simulator.safetensors",
)


class CheckpointError(ValueError):
    """A folder that is not a whole checkpoint, or not one for this use. The message names the file and the field."""


ScoreError = Literal["absolute", "relative"]


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """When candidates are good enough to execute without simulation (SPEC.md section 6, step 3).

    Attributes:
        threshold: Gamma: the best RCS must reach it.
        sigmas: Levels of the score.
        num_noises: Shared noises per level, in opposite pairs.
        error: Whether the score's error is "absolute", as published, or "relative" to the motion of the chunk (ADR 0010).
        num_candidates: Of the decisions on which the threshold was chosen: of more the best score is higher. 0 where nobody wrote it down.
        margin: Of two simulated futures, the progress by which one must exceed the other to count as better: smaller differences are the
            simulator's own noise.
        chosen_by: How the threshold was found, in words.
        curve: Of the rollouts that it was chosen on, by threshold: (threshold, precision, recall) of simulating what lies below; empty
            where it was chosen otherwise.
    """

    threshold: float
    sigmas: tuple[float, ...] = (0.6,)
    num_noises: int = 1
    error: ScoreError = "absolute"
    num_candidates: int = 0
    margin: float = 0.0
    chosen_by: str = ""
    curve: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SimulatorActions:
    """What the simulator is told of a chunk, where it knows more numbers or other statistics than the policy (SPEC.md sections 4 and 5).

    Attributes:
        codec: Representation and statistics of the simulator's actions: the policy's numbers first, then the held ones. Those are
            listed among its `grippers`, being absolute.
        held: Numbers that the policy does not command, in robot units, such as head, waist and base velocity. They stay at these values.
    """

    codec: ActionCodec
    held: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Everything about a checkpoint but its weights.

    Attributes:
        name: For people.
        embodiment: The robot it was trained for.
        codec: Action representation and statistics.
        model: The world model, or the policy where the simulator is a model of its own.
        simulator: The simulator's own model; None where one trunk serves both.
        simulator_actions: What the simulator is told of the policy's chunks; None where that is the chunks as they are.
        autoencoder: Our own video autoencoder, whose weights are in the folder; or the identity of a published one, whose are not.
        text: Identity of the text encoder.
        absent: Indices of actions and state that the robot does not have: 0 in normalised units, in training and ever after.
        sampling: Numbers of steps.
        gate: None until one was chosen.
        sources: What it was trained on, one by one; none where nobody wrote it down.
        codecs: By robot, what normalised its sources, all together; `codec` is that of `embodiment`.
        safety: Limits between the model and its robot; None for those that `tau0.worlds.registry.limits_of` knows.
        provenance: Recipe, data, seeds, scores: text for people.
        format_version: Of this file.
    """

    name: str
    embodiment: Embodiment
    codec: ActionCodec
    model: WorldModelConfig
    autoencoder: AnyAutoencoderConfig
    text: str
    simulator: WorldModelConfig | None = None
    simulator_actions: SimulatorActions | None = None
    absent: tuple[int, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    gate: GateConfig | None = None
    sources: tuple[SourceFacts, ...] = ()
    codecs: dict[str, ActionCodec] = field(default_factory=dict)
    safety: SafetyLimits | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    format_version: Literal[1] = FORMAT_VERSION


_CONFIG = pydantic.TypeAdapter(CheckpointConfig)


def config_to_json(config: CheckpointConfig) -> str:
    """The config as indented JSON."""
    return _CONFIG.dump_json(config, indent=2).decode() + "\n"


def config_from_json(text: str | bytes, source: str = CONFIG_NAME) -> CheckpointConfig:
    """Inverse of `config_to_json`. Raises `CheckpointError` naming each field that does not fit."""
    try:
        config = _CONFIG.validate_json(text)
    except pydantic.ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}, got {str(e['input'])[:60]!r}" for e in error.errors()]
        raise CheckpointError(f"{source}: " + "; ".join(lines)) from None
    if unknown := _unknown_fields(json.loads(text), _CONFIG.dump_python(config, mode="json")):
        raise CheckpointError(f"{source}: unknown fields {unknown}; the checkpoint may come from a newer version")
    return config


def check_dimensions(config: CheckpointConfig, source: str) -> None:
    """Raises `CheckpointError` naming the first two numbers that must agree and do not."""
    embodiment, actions = config.embodiment, config.simulator_actions
    dim = embodiment.action.dim
    pairs = [
        ("embodiment.state_names", len(embodiment.state_names), "embodiment.action.names", dim),
        ("codec.action.mean", len(config.codec.action.mean), "embodiment.action.names", dim),
        ("codec.state.mean", len(config.codec.state.mean), "embodiment.state_names", len(embodiment.state_names)),
        ("autoencoder.latent_channels", config.autoencoder.latent_channels, "the trunk", config.model.trunk.latent_channels),
    ]
    told = dim + (0 if actions is None else len(actions.held))
    if actions is not None:
        pairs.append(("simulator_actions.codec.action.mean", len(actions.codec.action.mean), "actions and held numbers", told))
    known = {f"codecs.{robot}.action.mean": codec.action.mean for robot, codec in config.codecs.items()}
    known |= {f"statistics of source {source.name!r}": source.statistics.action.mean for source in config.sources}
    pairs += [(name, len(mean), "actions and held numbers", told) for name, mean in known.items()]
    conditioning = (config.simulator or config.model).conditioning
    if conditioning is not None:
        horizon = conditioning.group * config.sampling.num_future + 1
        pairs.append(("embodiment.action_horizon", embodiment.action_horizon, "group x sampling.num_future + 1", horizon))
        pairs.append(("conditioning.action_dim", conditioning.action_dim, "actions and held numbers", told))
    if config.model.action is not None:
        pairs.append(("model.action.dim", config.model.action.dim, "embodiment.action.names", dim))
    if beyond := [i for i in config.absent if not 0 <= i < dim]:
        raise CheckpointError(f"{source}: absent lists {beyond}, the action has numbers 0 to {dim - 1}")
    if config.safety is not None:
        try:
            config.safety.check(embodiment.action)
        except ContractError as error:
            raise CheckpointError(f"{source}: {error}") from None
    for name, number, other, expected in pairs:
        if number != expected:
            raise CheckpointError(f"{source}: {name} is for {number}, {other} for {expected}; they must be equal")


def _unknown_fields(given: object, known: object, path: str = "") -> list[str]:
    if isinstance(given, list) and isinstance(known, list):
        pairs = zip(given, known, strict=False)
        return [u for i, (ours, theirs) in enumerate(pairs) for u in _unknown_fields(ours, theirs, f"{path}{i}.")]
    if not (isinstance(given, dict) and isinstance(known, dict)):
        return []
    unknown = [f"{path}{name}" for name in given.keys() - known.keys()]
    return unknown + [u for name in given.keys() & known.keys() for u in _unknown_fields(given[name], known[name], f"{path}{name}.")]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory. `simulator` is `model` itself where one trunk serves both."""

    config: CheckpointConfig
    model: WorldModel
    simulator: WorldModel
    autoencoder: AnyAutoencoder
    text: TextEncoder
    fingerprint: str = ""


def build(config: CheckpointConfig, published: PublishedEncoders | None = None, *, is_empty: bool = False) -> Checkpoint:
    """Freshly initialised networks of the config's shape, in evaluation mode.

    Args:
        config: Of the checkpoint.
        published: Where published encoders lie, for a config that names them; from the environment unless given.
        is_empty: World models take no memory yet (they are on the meta device): `load_exactly` gives them their weights.

    Raises:
        CheckpointError: When an encoder that the config names is not there, or is another one.
        ModuleNotFoundError: When an encoder needs a package that is not installed.
    """
    published = PublishedEncoders.from_environment() if published is None else published
    try:
        text = published.text(config.text, config.model.trunk.text_width, config.model.trunk.text_length)
        with torch.device("meta") if is_empty else nullcontext():
            model = WorldModel(config.model)
            simulator = model if config.simulator is None else WorldModel(config.simulator)
        autoencoder = published.autoencoder(config.autoencoder)
    except EncoderFolderError as error:
        raise CheckpointError(str(error)) from None
    return Checkpoint(config=config, model=model.eval(), simulator=simulator.eval(), autoencoder=autoencoder.eval(), text=text)


def _networks(checkpoint: Checkpoint) -> dict[str, nn.Module]:
    """What the folder carries, by file."""
    networks: dict[str, nn.Module] = {MODEL_NAME: checkpoint.model}
    if not isinstance(checkpoint.autoencoder, WanAutoencoder):
        networks[AUTOENCODER_NAME] = checkpoint.autoencoder
    if checkpoint.config.simulator is not None:
        networks[SIMULATOR_NAME] = checkpoint.simulator
    return networks


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes the folder whole or not at all: a neighbour first, then one rename. An older checkpoint there is replaced only then."""
    tensors = {name: {k: v.contiguous() for k, v in net.state_dict().items()} for name, net in _networks(checkpoint).items()}
    save_files(folder, tensors, {CONFIG_NAME: config_to_json(checkpoint.config)})


def save_config(config: CheckpointConfig, folder: Path) -> None:
    """Replaces the config of the checkpoint in `folder` in one step, and nothing else of it."""
    replace_text(folder / CONFIG_NAME, config_to_json(config))


def load(folder: Path, published: PublishedEncoders | None = None) -> Checkpoint:
    """The checkpoint in `folder`.

    Args:
        folder: With its config and weights.
        published: See `build`.

    Raises:
        CheckpointError: When a file is missing or unreadable, a field does not fit, a tensor is missing, foreign or mis-shaped, or an
            encoder that the config names is not there or another one.
        ModuleNotFoundError: When an encoder needs a package that is not installed.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CONFIG_NAME}")
    config = config_from_json(path.read_bytes(), str(path))
    check_dimensions(config, str(path))
    checkpoint = build(config, published, is_empty=True)
    for name, network in _networks(checkpoint).items():
        try:
            load_exactly(network, load_file(folder / name), str(folder / name))
        except FileNotFoundError:
            raise CheckpointError(f"{folder} is not a whole checkpoint: it has no {name}") from None
        except SafetensorError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error}") from None
        except WeightsError as error:
            raise CheckpointError(str(error)) from None
    return Checkpoint(**{**vars(checkpoint), "fingerprint": fingerprint(folder)})


def fingerprint(folder: Path) -> str:
    """First 16 hex digits of a SHA-256 over weights and config, without its limits and what is for people: no network reads them.

    Fields at their defaults are left out, so that a version that knows more fields finds the same hash.
    """
    digest = hashlib.sha256()
    config = config_from_json((folder / CONFIG_NAME).read_bytes(), str(folder / CONFIG_NAME))
    digest.update(_CONFIG.dump_json(replace(config, name="", provenance={}, safety=None), exclude_defaults=True))
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while part := file.read(2**24):
                digest.update(part)
    return digest.hexdigest()[:16]
