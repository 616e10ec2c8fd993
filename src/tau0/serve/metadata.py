"""The server's first message: the whole contract of the robot, and how it is served. Encode stands beside decode. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tau0.contract import ContractError, Embodiment
from tau0.limits import SafetyLimits
from tau0.serve.contracts import LONGEST_NAME, embodiment_from_wire, plain, safety_from_wire, texts
from tau0.serve.fields import boolean, named, text, whole
from tau0.serve.protocol import VERSION, PlannerChoice
from tau0.serve.requests import PARSERS, parse_planner


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a client is told before it asks.

    Attributes:
        checkpoint: Its name.
        fingerprint: A hash of its weights and config.
        embodiment: The robot that it acts for: everything that an observation must be.
        safety: What may be commanded; a client keeps these limits.
        planner: How chunks are chosen unless the connection says otherwise.
        modes: What it may choose from.
        execute_steps: Longest chunk that is sent to a robot that waits; a committed one gets the whole horizon.
        max_candidates: Most chunks a round.
        max_message_bytes: Larger messages end the connection.
        records: Whether reports of control steps are kept.
    """

    checkpoint: str
    fingerprint: str
    embodiment: Embodiment
    safety: SafetyLimits
    planner: PlannerChoice
    modes: tuple[str, ...]
    execute_steps: int
    max_candidates: int
    max_message_bytes: int
    records: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As a message. `observation` describes, for people and for other clients, the keys that one has to have."""
        robot = self.embodiment
        shapes: dict[str, Any] = {f"images.{c.name}": ["uint8", [c.height, c.width, 3]] for c in robot.cameras}
        shapes |= {"state": ["float32", [len(robot.state_names)]], "prompt": ["text"], "step": ["whole number, optional"]}
        return {
            "server": "tau0",
            "protocol": VERSION,
            "messages": list(PARSERS),
            "observation": shapes,
            **{field.name: plain(getattr(self, field.name)) for field in fields(self)},
        }

    @classmethod
    def from_wire(cls, message: Mapping[str, Any]) -> Metadata:
        """What `to_wire` made.

        Raises:
            ContractError: It is from another kind of server, another version, or broken.
        """
        if message.get("server") != "tau0" or message.get("protocol") != VERSION:
            spoken = f"{str(message.get('server'))[:LONGEST_NAME]} protocol {str(message.get('protocol'))[:LONGEST_NAME]}"
            raise ContractError(f"the server speaks {spoken}, this client tau0 protocol {VERSION}")
        try:
            return cls(
                checkpoint=text("checkpoint", message["checkpoint"], LONGEST_NAME),
                fingerprint=text("fingerprint", message["fingerprint"], LONGEST_NAME),
                embodiment=embodiment_from_wire(message["embodiment"]),
                safety=safety_from_wire(message["safety"]),
                planner=parse_planner(message["planner"]),
                modes=texts("modes", message["modes"]),
                execute_steps=whole("execute_steps", message["execute_steps"], 1, 10**6),
                max_candidates=whole("max_candidates", message["max_candidates"], 1, 10**6),
                max_message_bytes=whole("max_message_bytes", message["max_message_bytes"], 1, 2**40),
                records=boolean("records", message["records"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ContractError(f"the server's metadata cannot be read: {error}") from error


def check_planner(choice: PlannerChoice, metadata: Metadata) -> None:
    """Raises `ValueError` when a server does not choose in that way."""
    named("planner.mode", choice.mode, metadata.modes)
    whole("planner.candidates", choice.candidates, 1, metadata.max_candidates)
