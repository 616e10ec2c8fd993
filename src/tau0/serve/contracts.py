"""The robot's contract and its limits as maps and lists, and back. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from tau0.contract import ActionSpec, Camera, Embodiment
from tau0.limits import SafetyLimits
from tau0.serve.fields import number, only, text, whole

LONGEST_NAME = 200


def embodiment_from_wire(value: Any) -> Embodiment:
    """The contract of such a map. Raises `ValueError` naming the field that is not as it should be."""
    only("embodiment", value, [field.name for field in fields(Embodiment)])
    action = value["action"]
    only("embodiment.action", action, [field.name for field in fields(ActionSpec)])
    for camera in listed("embodiment.cameras", value["cameras"]):
        only("embodiment.cameras", camera, [field.name for field in fields(Camera)])
    return Embodiment(
        name=text("embodiment.name", value["name"], LONGEST_NAME),
        cameras=tuple(
            Camera(
                name=text("camera", camera["name"], LONGEST_NAME),
                height=whole("camera.height", camera["height"], 1, 2**15),
                width=whole("camera.width", camera["width"], 1, 2**15),
            )
            for camera in value["cameras"]
        ),
        state_names=texts("embodiment.state_names", value["state_names"]),
        action=ActionSpec(
            names=texts("embodiment.action.names", action["names"]),
            low=tuple(number("embodiment.action.low", low) for low in listed("embodiment.action.low", action["low"])),
            high=tuple(number("embodiment.action.high", high) for high in listed("embodiment.action.high", action["high"])),
            gripper=tuple(whole("embodiment.action.gripper", i, 0, 10**6) for i in listed("embodiment.action.gripper", action["gripper"])),
        ),
        control_hz=number("embodiment.control_hz", value["control_hz"]),
        action_horizon=whole("embodiment.action_horizon", value["action_horizon"], 1, 10**6),
        frame_stride=whole("embodiment.frame_stride", value["frame_stride"], 1, 10**6),
    )


def plain(value: Any) -> Any:
    """A frozen dataclass, or what stands in one, as maps and lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def safety_from_wire(value: Any) -> SafetyLimits:
    """Limits of a map with a field for each attribute. Raises `ValueError` or `ContractError` for anything else."""
    only("safety", value, [field.name for field in fields(SafetyLimits)])
    for name in ("meaning", "refuses"):
        texts(f"safety.{name}", value[name])
    for name in ("step_size", "low", "high", "speed", "acceleration", "rotations"):
        for item in listed(f"safety.{name}", value[name]):
            if item is not None:
                number(f"safety.{name}", item)
    for name in ("turn_speed", "turn_acceleration", "max_age_s", "watchdog_s"):
        if value[name] is not None or name in ("max_age_s", "watchdog_s"):
            number(f"safety.{name}", value[name])
    given: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
    return SafetyLimits(**given)


def listed(what: str, value: Any) -> list[Any]:
    """Returns a list. Raises `ValueError` for anything else."""
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list, got {type(value).__name__}")
    return value


def texts(what: str, value: Any) -> tuple[str, ...]:
    """Returns a list of texts. Raises `ValueError` for anything else."""
    return tuple(text(what, item, LONGEST_NAME) for item in listed(what, value))
