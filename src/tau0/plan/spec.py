"""How a process makes its agent, and what the agent is: a name for everything that its behaviour depends on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import pydantic

from tau0 import checkpoint as checkpoints
from tau0.checkpoint import CONFIG_NAME, Checkpoint, CheckpointConfig, GateConfig, config_from_json, fingerprint
from tau0.plan.agent import AS_CALIBRATED, NUM_CANDIDATES, PlanningAgent, Search, gate_of
from tau0.plan.gate import other_number
from tau0.plan.planner import STILL_BELOW
from tau0.plan.selectors import SELECTORS, Mode

_CONFIG = pydantic.TypeAdapter(CheckpointConfig)


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """How a process makes its agent: what `evaluate` sends to its workers.

    Attributes:
        checkpoint: The folder.
        mode: See `PlannerConfig`; the agent's label in results.
        num_candidates: Chunks a round.
        record_frames: See `PlanningAgent`.
        gate_threshold: See `PlanningAgent`.
        imagines_itself: See `PlanningAgent`.
        budget_ms: See `PlannerConfig`.
        search: See `Search`.
    """

    checkpoint: Path
    mode: Mode
    num_candidates: int = NUM_CANDIDATES
    record_frames: bool = False
    gate_threshold: float | None = None
    imagines_itself: bool = False
    budget_ms: float | None = None
    search: Search = AS_CALIBRATED

    @cached_property
    def checkpoint_hash(self) -> str:
        """A hash of the checkpoint's files alone. Reads them once."""
        return fingerprint(self.checkpoint)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoint's files and of every setting that changes behaviour."""
        rules = SELECTORS[self.mode]
        candidates = 1 if rules.is_alone else self.num_candidates
        timed = (self.gate_threshold, self.budget_ms) if rules.simulates == "gate" else ()
        if rules.simulates != "gate" and self.budget_ms is not None:
            timed = (self.budget_ms,)
        settings = f"{self.checkpoint_hash} {self.mode} {candidates} {self.imagines_itself} {timed}"
        compared, calibrated = asdict(self.search), asdict(AS_CALIBRATED)
        del compared["score_error"], calibrated["score_error"]
        of_all = {name: (compared.pop(name), calibrated.pop(name)) for name in ("guidance", "execute_steps")}
        if compared != calibrated and not rules.is_alone:
            settings += f" {sorted(compared.items())}"
        if rules.uses_scores and self.search.score_error is not None:
            settings += f" score_error {self.search.score_error}"
        settings += "".join(f" {name} {mine}" for name, (mine, usual) in of_all.items() if mine != usual)
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    @cached_property
    def scored_by(self) -> str:
        """See `scored_by`. Reads the files once."""
        return scored_by(self.checkpoint, self.num_candidates, self.search)

    def build(self) -> PlanningAgent:
        """A ready agent. Raises `CheckpointError` when the folder is not a whole checkpoint for this mode."""
        return PlanningAgent(
            checkpoints.load(self.checkpoint),
            self.mode,
            self.num_candidates,
            self.record_frames,
            gate_threshold=self.gate_threshold,
            imagines_itself=self.imagines_itself,
            budget_ms=self.budget_ms,
            search=self.search,
        )

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises `CheckpointError` when the checkpoint, loaded already, cannot be used in this way."""
        gate_of(checkpoint, self.mode, self.gate_threshold, self.search)

    def note(self, checkpoint: Checkpoint) -> str | None:
        """What should be known before this is used: see `other_number`."""
        return other_number(checkpoint.config.gate, self.mode, self.num_candidates, self.gate_threshold)


def scored_by(folder: Path, num_candidates: int, search: Search = AS_CALIBRATED) -> str:
    """A hash of all that the score of a decision depends on: weights, candidates, levels, noises, and who may win.

    The gate's threshold and margin are left out: a gate that is chosen from scores does not change them. So are fields at their defaults,
    the guard against standing still among them, for the same reason as in `tau0.checkpoint.fingerprint`.

    Raises:
        CheckpointError: The folder is no checkpoint.
    """
    config = read_config(folder)
    gate = search.gate(config.gate or GateConfig(threshold=0.0))
    scores: tuple[object, ...] = (gate.sigmas, gate.num_noises, num_candidates, search.noise_scale)
    if gate.error == "relative":
        scores += (gate.error, search.execute_steps)
    if search.still_below != STILL_BELOW:
        scores += ("still_below", search.still_below)
    digest = hashlib.sha256(f"{scores}".encode())
    digest.update(_CONFIG.dump_json(replace(config, name="", provenance={}, gate=None, safety=None), exclude_defaults=True))
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def read_config(folder: Path) -> CheckpointConfig:
    """The config of the checkpoint in `folder`, without its weights. Raises `CheckpointError` when it is not there or not one."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise checkpoints.CheckpointError(f"{folder} is not a checkpoint: it has no {CONFIG_NAME}")
    return config_from_json(path.read_bytes(), str(path))
