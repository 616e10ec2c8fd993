"""Descriptions that come with tau0, one for each dataset that was looked at closely, and reading of others from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pydantic

from tau0.data.description import Numbers, PartSource, Pose, SourceDescription
from tau0.data.info import DatasetError, suggest
from tau0.data.schema import ACTION, EXPERT_ACTION, NEXT_SUCCESS, PROGRESS, STATE


class DescriptionError(DatasetError):
    """A description of a source cannot be read. The message names the file, the field and what was expected."""


def _run(feature: str, start: int, stop: int) -> Numbers:
    """Numbers `start` to `stop` of a feature, the last not included, as they are."""
    return Numbers(feature=feature, at=tuple(range(start, stop)))


def _hand_of_meta_world(feature: str) -> dict[str, PartSource]:
    return {"hand": _run(feature, 0, 3), "gripper": _run(feature, 3, 4)}


def _two_arms(feature: str) -> dict[str, PartSource]:
    sides = {"left": 0, "right": 10}
    poses = {
        f"{side}_pose": Pose(position=_run(feature, at, at + 3), rotation=_run(feature, at + 3, at + 9), form="rotation_6d")
        for side, at in sides.items()
    }
    return {**poses, **{f"{side}_gripper": _run(feature, at + 9, at + 10) for side, at in sides.items()}}


def _arm_of_droid(feature: str) -> dict[str, PartSource]:
    """x, y, z in metres, roll, pitch, yaw in radians, gripper with 0 open and 1 closed."""
    pose = Pose(position=_run(feature, 0, 3), rotation=_run(feature, 3, 6), form="euler_xyz")
    return {"right_pose": pose, "right_gripper": _run(feature, 6, 7)}


def _arms_of_g1(feature: str) -> dict[str, PartSource]:
    starts = {"left_arm": (0, 7), "right_arm": (7, 14), "left_hand": (14, 20), "right_hand": (20, 26)}
    return {part: _run(feature, *span) for part, span in starts.items()}


def _arms_of_gr1(feature: str) -> dict[str, PartSource]:
    starts = {"left_arm": (0, 7), "right_arm": (22, 29), "left_hand": (7, 13), "right_hand": (29, 35)}
    return {part: _run(feature, *span) for part, span in starts.items()}


METAWORLD = SourceDescription(
    name="metaworld",
    kind="teleoperation",
    embodiment="metaworld-sawyer",
    cameras={"front": "front", "wrist": "wrist"},
    sizes={STATE: 4, ACTION: 4, EXPERT_ACTION: 4},
    state=_hand_of_meta_world(STATE),
    action=_hand_of_meta_world(ACTION),
    advice=_hand_of_meta_world(EXPERT_ACTION),
    supervises={"video": 1.0, "action": 1.0, "dynamics": 1.0, "progress": 1.0},
    progress=PROGRESS,
    success=NEXT_SUCCESS,
)
"""What `tau0 collect` records. Actions are displacements for one step at 80 Hz: they mean something else at another rate."""

TWO_ARM = SourceDescription(
    name="two_arm",
    kind="teleoperation",
    embodiment="robosuite-two-panda",
    cameras={"head": "head", "left_hand": "left_hand", "right_hand": "right_hand"},
    sizes={STATE: 20, ACTION: 20, EXPERT_ACTION: 20},
    state=_two_arms(STATE),
    action=_two_arms(ACTION),
    advice=_two_arms(EXPERT_ACTION),
    supervises={"video": 1.0, "action": 1.0, "dynamics": 1.0, "progress": 1.0},
    progress=PROGRESS,
    success=NEXT_SUCCESS,
)
"""What `tau0 collect --suite two-arm` records: poses of both hands, each in the frame of its own base, at 20 Hz."""

DROID = SourceDescription(
    name="droid_v30",
    kind="teleoperation",
    embodiment="franka",
    cameras={"head": "exterior_1", "side": "exterior_2", "right_hand": "wrist"},
    sizes={STATE: 7, ACTION: 7},
    state=_arm_of_droid(STATE),
    action=_arm_of_droid(ACTION),
    supervises={"video": 1.0, "action": 1.0, "dynamics": 1.0, "progress": 1.0},
    success="is_episode_successful",
)
"""Franka. The action is the commanded target, absolute, in the state's own columns; the measured pose trails it by 0.2 to 0.33 s. Of the
flags, `next.success` is true in the last row alone and `is_episode_successful` is the same in every row. A fixed camera plays the head."""

DROID_VIDEO_ONLY = SourceDescription(
    name="droid_video_only_v30",
    kind="teleoperation",
    embodiment="franka",
    cameras=DROID.cameras,
    sizes={STATE: 7},
    state=_arm_of_droid(STATE),
    supervises={"video": 1.0},
    success="all",
    clock="frames",
)
"""The same robot without actions. All episodes were flagged successful by their source. Nobody recorded a clock: the nominal 4 frames a
second are believed. Progress is learnt under executed actions, of which there are none here."""

G1 = SourceDescription(
    name="g1_v21",
    kind="teleoperation",
    embodiment="unitree-g1-inspire",
    cameras={"head": "cam_high"},
    sizes={STATE: 26, ACTION: 26},
    state=_arms_of_g1(STATE),
    action=_arms_of_g1(ACTION),
    supervises={"video": 1.0, "action": 1.0, "dynamics": 1.0},
)
"""Humanoid with fingers in [0, 1]. The action is the commanded joint position, absolute; the arms trail it by about 0.15 s. Whether an
episode succeeded is not recorded, so that none supervises progress."""

GR00T_SIM = SourceDescription(
    name="gr00t_sim_v20",
    kind="teleoperation",
    embodiment="fourier-gr1-sim",
    cameras={"head": "ego_view"},
    sizes={STATE: 44, ACTION: 44},
    state=_arms_of_gr1(STATE),
    action=_arms_of_gr1(ACTION),
    supervises={"video": 1.0, "action": 1.0, "dynamics": 1.0, "progress": 1.0},
    success="next.reward",
)
"""Simulated humanoid. Arm targets are absolute joints. Hand actions, in [-3, 3], are another quantity than hand states: both are kept,
since hands are never measured from the state, and each is normalised by its own statistics. Legs, neck and waist are 0 throughout and
left out. The reward is 1 in the last row of an episode that was solved."""

PRESETS: Mapping[str, SourceDescription] = MappingProxyType(
    {
        **{description.name: description for description in (METAWORLD, TWO_ARM, DROID, DROID_VIDEO_ONLY, G1, GR00T_SIM)},
        "g1_v21_renumbered": G1,
    }
)
"""By name; `find_description` knows them, and files besides."""


def find_description(what: str | Path | Mapping[str, Any] | SourceDescription) -> SourceDescription:
    """A description by the name of a preset, by a JSON file, or written out.

    Args:
        what: "droid_v30", "my_robot.json", '{"name": ...}', or the object that such a text stands for.

    Raises:
        DescriptionError: When there is no such preset or file, or a field is missing, unknown, or not what it should be. It is named.
    """
    if isinstance(what, SourceDescription):
        return what
    if isinstance(what, Mapping):
        return _described(what, "the description")
    if isinstance(what, str) and what.lstrip().startswith("{"):
        return _described(_parsed(what, "the description"), "the description")
    if str(what) in PRESETS:
        return PRESETS[str(what)]
    path = Path(what)
    if not path.is_file():
        hint = suggest(str(what), PRESETS)
        raise DescriptionError(f"{str(what)!r} is neither a file nor a description{hint}; there are {', '.join(PRESETS)}")
    return _described(_parsed(path.read_text("utf-8", errors="replace"), str(path)), str(path))


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DescriptionError(f"{where} is not valid JSON: {error}") from error


def _described(raw: Any, where: str) -> SourceDescription:
    try:
        return _adapter().validate_json(json.dumps(raw))
    except pydantic.ValidationError as error:
        raise DescriptionError(f"{where}: {_first(error)}") from error
    except (TypeError, ValueError) as error:
        raise DescriptionError(f"{where} is not what JSON can say: {error}") from error


@cache
def _adapter() -> pydantic.TypeAdapter[SourceDescription]:
    return pydantic.TypeAdapter(SourceDescription)


def _first(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong, and how many more there are."""
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "unexpected_keyword_argument")
    problem, more = problems[0], len(problems) - 1
    field = ".".join(str(place) for place in problem["loc"] if place not in ("numbers", "pose", "[key]"))
    if problem["type"] == "unexpected_keyword_argument":
        hint = suggest(field.rsplit(".", 1)[-1], dict.fromkeys(_FIELDS))
        said = f"unknown field {field!r}{hint}"
    elif problem["type"] == "missing":
        said = f"field {field!r} is missing"
    elif problem["type"] == "literal_error":
        said = no_such_choice(field, problem)
    else:
        given = f", got {problem['input']!r:.80}" if field else ""
        said = f"{field + ': ' if field else ''}{problem['msg'].removeprefix('Value error, ')}{given}"
    return said + (f" (and {more} more)" if more else "")


def no_such_choice(field: str, problem: Mapping[str, Any]) -> str:
    """What pydantic says of a word that is none of those which a field may hold, in a sentence with the nearest."""
    choices = dict.fromkeys(problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", "))
    given = f"{problem['input']!r:.60}"
    return f"{field} is {given}{suggest(str(problem['input']), choices)}; it may be {', '.join(choices)}"


_FIELDS = tuple(name for owner in (SourceDescription, Pose, Numbers) for name in owner.__dataclass_fields__)
