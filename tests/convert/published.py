"""Small published checkpoints (those of the golden files), and a contract that fits them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from tau0.convert.contract import Contract
from tau0.model.autoencoder import Autoencoder, AutoencoderConfig
from tau0.model.config import WorldModelConfig
from tau0.model.published import from_published_shape
from tau0.model.text import SentenceEncoder

GOLDEN = Path(__file__).parents[1] / "golden"
DIM, HORIZON = 7, 9
AUTOENCODER = AutoencoderConfig(latent_channels=4, stride=8, width=8)


def published(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under published names, and their sizes."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        weights = {n.removeprefix("weights."): file.get_tensor(n) for n in file.keys() if n.startswith("weights.")}  # noqa: SIM118
        return weights, json.loads(file.metadata()["config"])


POLICY, POLICY_SIZES = published("vam_two_views")
SIMULATOR, SIMULATOR_SIZES = published("acvs_two_views")
SHAPE: WorldModelConfig = from_published_shape({**POLICY_SIZES, **SIMULATOR_SIZES})


def contract_fields() -> dict[str, Any]:
    """A robot with two cameras and seven joints."""
    names = [f"joint_{i}" for i in range(DIM)]
    statistics = {"mean": [0.1] * DIM, "std": [0.5] * DIM}
    return {
        "name": "converted",
        "embodiment": {
            "name": "arm", "cameras": [{"name": name, "height": 32, "width": 32} for name in ("front", "wrist")],
            "state_names": names, "action": {"names": names, "low": [-3.0] * DIM, "high": [3.0] * DIM, "gripper": [6]},
            "control_hz": 30.0, "action_horizon": HORIZON, "frame_stride": 4,
        },
        "codec": {"action": statistics, "state": statistics, "reference": "relative", "grippers": [6]},
        "autoencoder": {"latent_channels": 4, "stride": 8, "width": 8},
        "text": SentenceEncoder(SHAPE.trunk.text_length).identity,
        "sampling": {"num_future": 2},
    }  # fmt: skip


def contract(**changes: Any) -> Contract:
    """The contract with some fields changed; None removes one."""
    fields = {name: value for name, value in {**contract_fields(), **changes}.items() if value is not None}
    return Contract(fields=fields, source="contract.json")


def autoencoder_tensors() -> dict[str, Tensor]:
    """Weights of the contract's autoencoder."""
    return Autoencoder(AUTOENCODER).state_dict()
