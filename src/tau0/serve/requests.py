"""Messages of clients, read: every field is checked against the robot's contract before anything is done. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tau0.contract import Commitment, ContractError, Embodiment, Observation
from tau0.serve.contracts import embodiment_from_wire
from tau0.serve.fields import boolean, images, named, number, numbers, only, text, whole
from tau0.serve.protocol import (
    MAX_GUIDANCE,
    OUTCOMES,
    Configure,
    Imagine,
    Observe,
    PlannerChoice,
    RefusedError,
    Report,
    Request,
    Reset,
    Resume,
    Stop,
)

MAX_INSTRUCTION, MAX_STEP = 2000, 10**9
"""Most characters of an instruction, and the largest control step of an episode or seed."""


def parse(message: Mapping[str, Any], embodiment: Embodiment) -> Request:
    """The request that a message is.

    Args:
        message: Decoded.
        embodiment: The robot's, against which everything is checked that can be.

    Raises:
        RefusedError: With code "malformed" for what is no request, "contract" for what does not fit the robot.
    """
    kind = message.get("type", "observe")
    try:
        if not isinstance(kind, str):
            raise ValueError("type must be text")
        return PARSERS[named("type", kind, PARSERS)]({k: v for k, v in message.items() if k != "type"}, embodiment, "type" not in message)
    except ContractError as error:
        raise RefusedError("contract", str(error)) from error
    except ValueError as error:
        raise RefusedError("malformed", str(error)) from error


def plain_observation(observation: Observation, has_step: bool = True) -> dict[str, Any]:
    """The observation as openpi's clients send one: `images` by camera, `state`, `prompt`; and `step`, which they leave out."""
    message: dict[str, Any] = {"images": dict(observation.images), "state": observation.state, "prompt": observation.instruction}
    if has_step:
        message["step"] = observation.step
    if observation.committed is not None:
        message["committed"] = {"actions": observation.committed.actions, "num_frozen": observation.committed.num_frozen}
    return message


def parse_observation(fields: Any, embodiment: Embodiment) -> tuple[Observation, bool]:
    """(observation, whether it says its step) of `plain_observation`, or of one with a key for each part: `observation/<camera>`.

    Raises:
        ContractError: It is not of this robot. The message says which field, what came and what was expected.
        ValueError: It is no observation.
    """
    if not isinstance(fields, Mapping):
        raise ValueError(f"an observation must be a map, got {type(fields).__name__}")
    fields = _gathered(fields)
    only("an observation", fields, ("images", "state", "prompt"), ("step", "committed", "control_hz"))
    if "control_hz" in fields and (rate := number("control_hz", fields["control_hz"])) != embodiment.control_hz:
        raise ContractError(f"control_hz is {rate:g}, {embodiment.name!r} is controlled at {embodiment.control_hz:g} Hz")
    prompt = text("prompt", fields["prompt"], MAX_INSTRUCTION)
    observation = Observation(
        images=images(fields["images"], embodiment),
        state=numbers("state", fields["state"]),
        instruction=prompt,
        step=whole("step", fields.get("step", 0), 0, MAX_STEP),
        committed=_commitment(fields.get("committed")),
    )
    observation.check(embodiment)
    return observation, "step" in fields


def _gathered(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """With keys `observation/<camera>` and `observation/state` put where the others expect them."""
    prefix = "observation/"
    flat = {key[len(prefix) :]: value for key, value in fields.items() if key.startswith(prefix)}
    if not flat or "images" in fields:
        return fields
    rest = {key: value for key, value in fields.items() if not key.startswith(prefix)}
    views = {key.removeprefix("images/"): value for key, value in flat.items() if key != "state"}
    return {**rest, "images": views, **({"state": flat["state"]} if "state" in flat else {})}


def _commitment(value: Any) -> Commitment | None:
    if value is None:
        return None
    only("committed", value, ("actions", "num_frozen"))
    return Commitment(
        actions=numbers("committed.actions", value["actions"]), num_frozen=whole("committed.num_frozen", value["num_frozen"], 0, MAX_STEP)
    )


def _observe(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Observe:
    wants_details = boolean("details", fields.get("details", False))
    observation, has_step = parse_observation({k: v for k, v in fields.items() if k != "details"}, embodiment)
    return Observe(observation=observation, has_step=has_step, wants_details=wants_details, is_plain=is_plain)


def _reset(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Reset:  # noqa: ARG001
    only("reset", fields, (), ("seed", "outcome"))
    outcome = fields.get("outcome")
    if outcome is not None:
        named("outcome", outcome, OUTCOMES)
    return Reset(seed=whole("seed", fields.get("seed", 0), 0, MAX_STEP), outcome=outcome)


def _configure(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Configure:  # noqa: ARG001
    only("configure", fields, (), ("planner", "embodiment", "events"))
    planner, robot, events = (fields.get(name) for name in ("planner", "embodiment", "events"))
    return Configure(
        planner=None if planner is None else parse_planner(planner),
        embodiment=None if robot is None else embodiment_from_wire(robot),
        events=None if events is None else boolean("events", events),
    )


def parse_planner(fields: Mapping[str, Any]) -> PlannerChoice:
    """The choice of a map with `mode`, and where it says so, the other fields of one. Raises `ValueError` for anything else."""
    only("planner", fields, ("mode",), ("candidates", "budget_ms", "guidance"))
    budget, guidance = fields.get("budget_ms"), fields.get("guidance")
    if budget is not None and not 0 <= (budget := number("planner.budget_ms", budget)) < math.inf:
        raise ValueError(f"planner.budget_ms is {budget:g}, it must be a number of milliseconds of at least 0")
    if guidance is not None and not 0 <= (guidance := number("planner.guidance", guidance)) <= MAX_GUIDANCE:
        raise ValueError(f"planner.guidance is {guidance:g}, it must lie between 0 and {MAX_GUIDANCE:g}")
    return PlannerChoice(
        mode=text("planner.mode", fields["mode"], 64),
        candidates=whole("planner.candidates", fields.get("candidates", PlannerChoice.candidates), 1, 4096),
        budget_ms=budget,
        guidance=guidance,
    )


def _report(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Report:  # noqa: ARG001
    only("report", fields, (), ("observation", "action", "trips"))
    trips = fields.get("trips", {})
    if not isinstance(trips, Mapping) or len(trips) > 32:
        raise ValueError("report.trips must be a map of at most 32 counts")
    counts = {name: whole(f"report.trips.{name[:32]}", value, 0, MAX_STEP) for name, value in trips.items()}
    if ("observation" in fields) != ("action" in fields):
        raise ValueError("a report has an observation and the action that followed, or neither")
    if "observation" not in fields:
        return Report(observation=None, action=None, trips=counts)
    observation, has_step = parse_observation(fields["observation"], embodiment)
    action = numbers("action", fields["action"])
    if not has_step:
        raise ValueError("a reported observation must say its step")
    if action.shape != (embodiment.action.dim,) or not np.isfinite(action).all():
        raise ContractError(f"a reported action must be {embodiment.action.dim} finite numbers, got {action.shape}")
    return Report(observation=observation, action=action, trips=counts)


def _imagine(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Imagine:  # noqa: ARG001
    only("imagine", fields, ("observation", "actions"), ("frames",))
    observation, _ = parse_observation(fields["observation"], embodiment)
    actions, wanted = numbers("actions", fields["actions"]), (embodiment.action_horizon, embodiment.action.dim)
    if actions.ndim != 3 or not len(actions) or actions.shape[1:] != wanted or not np.isfinite(actions).all():
        raise ContractError(f"actions to imagine must be finite, of shape (n, {wanted[0]}, {wanted[1]}); got {actions.shape}")
    return Imagine(observation=observation, actions=actions, wants_frames=boolean("frames", fields.get("frames", True)))


def _stop(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Stop:  # noqa: ARG001
    only("stop", fields, (), ("reason",))
    return Stop(reason=text("reason", fields.get("reason", ""), 200))


def _resume(fields: Mapping[str, Any], embodiment: Embodiment, is_plain: bool) -> Resume:  # noqa: ARG001
    only("resume", fields, ())
    return Resume()


PARSERS: Mapping[str, Callable[[Mapping[str, Any], Embodiment, bool], Request]] = {
    "observe": _observe,
    "reset": _reset,
    "configure": _configure,
    "report": _report,
    "imagine": _imagine,
    "stop": _stop,
    "resume": _resume,
}
