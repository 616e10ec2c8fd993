"""What published weights do not say about themselves: robot, statistics, encoders. A JSON file with the fields of a checkpoint's config."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tau0.checkpoint import CheckpointConfig, CheckpointError, check_dimensions, config_from_json
from tau0.model.config import WorldModelConfig
from tau0.model.encoders import AnyAutoencoderConfig

_SHIPPED = Path(__file__).parent / "contracts"
_NOT_HERE = ("model", "simulator", "gate", "format_version")


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything of a checkpoint's config but shapes and gate.

    Attributes:
        fields: As in `config.json`.
        source: Where they were read, for error messages.
    """

    fields: Mapping[str, Any]
    source: str

    def with_statistics(self, statistics: Path | None, simulator_statistics: Path | None) -> Contract:
        """The contract with means and deviations from files such as the published `statistics.json`.

        Each file holds `{"action": {"mean": [..], "std": [..]}, "state": {..}}` in the units of the codec; other entries are passed over.
        The simulator's file needs no state.

        Raises:
            CheckpointError: When a file is not of that form, or has nowhere to go.
        """
        fields = json.loads(json.dumps(self.fields))
        if statistics is not None:
            _codec(fields, "codec", self.source).update(_statistics(statistics, ("action", "state")))
        if simulator_statistics is not None:
            actions = _codec(fields, "simulator_actions", self.source)
            _codec(actions, "codec", self.source).update(_statistics(simulator_statistics, ("action",)))
        if isinstance(actions := fields.get("simulator_actions"), dict) and isinstance(actions.get("codec"), dict):
            actions["codec"].setdefault("state", fields.get("codec", {}).get("state"))
        return replace(self, fields=fields)

    @property
    def names_encoders(self) -> bool:
        """Whether both encoders are said."""
        return {"autoencoder", "text"} <= self.fields.keys()

    def with_encoders(self, autoencoder: AnyAutoencoderConfig, text: str) -> Contract:
        """The contract with these encoders where it names none."""
        return replace(self, fields={"autoencoder": asdict(autoencoder), "text": text, **self.fields})

    def config(self, model: WorldModelConfig, simulator: WorldModelConfig | None) -> CheckpointConfig:
        """The config of a checkpoint of these shapes, with the contract's numbers of actions in place of theirs.

        Raises:
            CheckpointError: A field is missing or does not fit; the message names it.
        """
        networks = [network for network in (model, simulator) if network is not None]
        fields = {**self.fields, "model": asdict(model), "simulator": None if simulator is None else asdict(simulator)}
        if all(network.conditioning is None for network in networks):
            fields.pop("simulator_actions", None)
        self._require_statistics(fields)
        config = config_from_json(json.dumps(fields), self.source)
        config = replace(config, model=_fitted(config.model, config), simulator=None if simulator is None else _fitted(simulator, config))
        check_dimensions(config, self.source)
        return config

    def _require_statistics(self, fields: Mapping[str, Any]) -> None:
        codec = fields.get("codec") or {}
        if lacking := [name for name in ("action", "state") if not codec.get(name)]:
            raise CheckpointError(f"{self.source} has no statistics of {' and '.join(lacking)}: give them with --statistics")
        actions = fields.get("simulator_actions")
        if actions and not (actions.get("codec") or {}).get("action"):
            raise CheckpointError(f"{self.source} has no statistics of the simulator's actions: give them with --simulator-statistics")


def read_contract(name: str) -> Contract:
    """The contract in the file `name`, or the shipped one of that name.

    Raises:
        CheckpointError: When there is none, or it is no JSON object, or it says what the weights say.
    """
    shipped = {path.stem: path for path in sorted(_SHIPPED.glob("*.json"))}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        close = difflib.get_close_matches(name, shipped, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise CheckpointError(f"there is no contract {name!r}{hint} (a JSON file, or one of {', '.join(shipped)})")
    fields = _read_object(path)
    if surplus := [field for field in _NOT_HERE if field in fields]:
        raise CheckpointError(f"{path}: {', '.join(surplus)} come with the weights, not with the contract")
    return Contract(fields=fields, source=str(path))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise CheckpointError(f"{path} holds a {type(read).__name__}, expected an object with named fields")
    return read


def _codec(fields: dict[str, Any], name: str, source: str) -> dict[str, Any]:
    if not isinstance(fields.get(name), dict):
        raise CheckpointError(f"{source} has no {name}, so that statistics have nowhere to go")
    return fields[name]


def _statistics(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    read = _read_object(path)
    chosen: dict[str, Any] = {}
    for name in names:
        entry = read.get(name)
        if not isinstance(entry, dict) or not {"mean", "std"} <= entry.keys():
            raise CheckpointError(f"{path} has no mean and std of {name} (there are {', '.join(read) or 'no entries'})")
        chosen[name] = {"mean": entry["mean"], "std": entry["std"]}
    return chosen


def _fitted(model: WorldModelConfig, config: CheckpointConfig) -> WorldModelConfig:
    """The shape with as many actions as the robot has; a simulator is told the held numbers too."""
    dim = config.embodiment.action.dim
    told = dim + (0 if config.simulator_actions is None else len(config.simulator_actions.held))
    return replace(
        model,
        action=None if model.action is None else replace(model.action, dim=dim),
        conditioning=None if model.conditioning is None else replace(model.conditioning, action_dim=told),
    )
