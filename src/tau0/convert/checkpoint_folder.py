"""Published weights into a checkpoint folder of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tau0.checkpoint import (
    AUTOENCODER_NAME,
    CONFIG_NAME,
    MODEL_NAME,
    SIMULATOR_NAME,
    CheckpointConfig,
    CheckpointError,
    config_to_json,
)
from tau0.convert.contract import Contract
from tau0.convert.plan import Plan, Supply, names_under, part_of, plan_copy, plan_model
from tau0.convert.safetensors_file import write_safetensors
from tau0.convert.sources import TensorSource, open_source
from tau0.folders import whole_folder
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.config import WorldModelConfig
from tau0.model.names import Piece
from tau0.model.weights import WeightsError, compare, shapes_of

TRUNK = "trunk"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Published weights. A trunk stands alone: it is what training starts from.

    Attributes:
        policy: τ0's published policy.
        simulator: τ0's published simulator.
        trunk: The Wan 2.2 transformer, under its original or diffusers' names.
    """

    policy: TensorSource | None = None
    simulator: TensorSource | None = None
    trunk: TensorSource | None = None

    def __post_init__(self) -> None:
        if (self.trunk is None) == (self.policy is None and self.simulator is None):
            raise WeightsError("give a policy, a simulator or both, or a trunk alone")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A checkpoint that can be written: every tensor of it is known.

    Attributes:
        config: What becomes `config.json`.
        plans: File name to its tensors.
    """

    config: CheckpointConfig
    plans: Mapping[str, Plan]

    @property
    def num_bytes(self) -> int:
        """Size of the weights."""
        return sum(plan.num_bytes for plan in self.plans.values())

    def write(self, folder: Path, on_written: Callable[[int], None] = lambda _: None) -> None:
        """Writes the folder whole or not at all, one tensor in memory at a time. `on_written` is told the size of each."""
        with whole_folder(folder) as draft:
            for name, plan in self.plans.items():
                write_safetensors(draft / name, plan.tensors, on_written)
            (draft / CONFIG_NAME).write_text(config_to_json(self.config), encoding="utf-8")


def plan_checkpoint(
    sources: Sources,
    contract: Contract,
    shape: WorldModelConfig,
    *,
    is_unified: bool = False,
    reinitialise: Sequence[str] = (),
    autoencoder: Path | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Conversion:
    """The checkpoint that the sources make, checked to the last tensor; nothing is written yet.

    Args:
        sources: Published weights.
        contract: Robot, statistics, encoders.
        shape: Of all parts; those that the sources do not concern are left out, unless unified.
        is_unified: One model with all parts, on the policy's trunk where there is one. A trunk alone always makes one.
        reinitialise: Names, or beginnings of names, of tensors that start anew.
        autoencoder: Weights of our own autoencoder, for a contract that has one.
        dtype: Of every tensor of the world model; as in the sources where None.
        seed: Of what starts anew.

    Raises:
        WeightsError: Lists what is missing, foreign or mis-shaped.
        CheckpointError: When the contract lacks something or does not fit.
    """
    config = contract.config(*_shapes(sources, shape, is_unified=is_unified))
    if config.simulator is None:
        plans = {MODEL_NAME: plan_model(config.model, _supplies(sources), reinitialise, dtype, seed)}
    else:
        assert sources.policy is not None
        assert sources.simulator is not None
        mine, theirs = _shared_out(reinitialise, config.model, config.simulator)
        plans = {
            MODEL_NAME: plan_model(config.model, [Supply(source=sources.policy)], mine, dtype, seed),
            SIMULATOR_NAME: plan_model(config.simulator, [Supply(source=sources.simulator)], theirs, dtype, seed),
        }
    return Conversion(config=config, plans=plans | _autoencoder(config, autoencoder))


def _shapes(sources: Sources, shape: WorldModelConfig, *, is_unified: bool) -> tuple[WorldModelConfig, WorldModelConfig | None]:
    """Of the model, and of the simulator where it is a model of its own."""
    if is_unified or sources.trunk is not None:
        return shape, None
    if sources.policy is None:
        return shape.simulator, None
    return shape.policy, None if sources.simulator is None else shape.simulator


def _supplies(sources: Sources) -> list[Supply]:
    """Of one model. Where a policy brings the trunk, the simulator's stays behind."""
    first = sources.trunk or sources.policy
    supplies = [] if first is None else [Supply(source=first)]
    if sources.simulator is not None:
        supplies.append(Supply(source=sources.simulator, left=(TRUNK,) if supplies else ()))
    return supplies


def _shared_out(reinitialise: Sequence[str], policy: WorldModelConfig, simulator: WorldModelConfig) -> tuple[list[str], list[str]]:
    """Which names to reinitialise concern the policy and which the simulator; what lies in a trunk concerns both."""
    parts = {"action_expert": policy.action, "conditioning": simulator.conditioning, "progress_expert": simulator.progress}
    names_under([part_of(name) for name in reinitialise], [f"{part}.x" for part in (TRUNK, *parts)])
    mine = [name for name in reinitialise if part_of(name) in (TRUNK, "action_expert")]
    return mine, [name for name in reinitialise if part_of(name) != "action_expert"]


def _autoencoder(config: CheckpointConfig, path: Path | None) -> dict[str, Plan]:
    """The file of our own autoencoder. The published one is not part of a checkpoint."""
    if not isinstance(config.autoencoder, AutoencoderConfig):
        if path is not None:
            raise CheckpointError(f"{path} is not needed: the contract names encoders that are not part of a checkpoint")
        return {}
    if path is None:
        raise CheckpointError("the contract has an autoencoder of ours: give its weights with --autoencoder")
    source = open_source(path)
    with torch.device("meta"):
        wanted = shapes_of(Autoencoder(config.autoencoder).state_dict())
    if lines := compare(wanted, source.shapes):
        raise WeightsError(f"{source.path} does not hold the contract's autoencoder:\n  " + "\n  ".join(lines))
    return {AUTOENCODER_NAME: plan_copy(source, {name: Piece(name=name) for name in wanted})}
