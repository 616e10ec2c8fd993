"""Descriptions: those that come with tau0, those that are read, and datasets that they are not about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic
import pytest
from fake_v2 import write_v2

from tau0.contract import ContractError
from tau0.data.description import Numbers, Pose, SourceDescription
from tau0.data.description_check import check_description, check_layout
from tau0.data.descriptions import DROID, METAWORLD, PRESETS, DescriptionError, find_description
from tau0.data.episodes import Dataset
from tau0.data.layout import DUAL_ARM, HUMANOID, LAYOUTS, WHOLE_BODY
from tau0.data.schema import EpisodeRecord

OURS = {"metaworld", "two_arm"}
"""What `tau0 collect` records: there is no dataset of somebody else's to hold them against."""

HAND = Numbers(feature="observation.state", at=(0, 1, 2))
SMALL: dict[str, Any] = {"name": "lab", "kind": "teleoperation", "embodiment": "arm", "cameras": {"head": "front"}}


def as_json(description: SourceDescription) -> str:
    return pydantic.TypeAdapter(SourceDescription).dump_json(description).decode()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_name_and_survives_json(name: str, tmp_path: Path) -> None:
    preset = find_description(name)
    path = tmp_path / "mine.json"
    path.write_text(as_json(preset))
    assert find_description(path) == find_description(str(path)) == find_description(as_json(preset)) == preset
    assert find_description(json.loads(as_json(preset))) == find_description(preset) == preset


@pytest.mark.parametrize("name", sorted(set(PRESETS) - OURS))
def test_a_preset_fits_its_own_dataset_and_no_other(name: str, shared: Path) -> None:
    check_description(PRESETS[name], Dataset.open(shared / name))
    for other in set(PRESETS) - OURS - {name}:
        is_same = PRESETS[other] == PRESETS[name] or (name, other) == ("droid_video_only_v30", "droid_v30")
        if not is_same:
            with pytest.raises(ContractError, match="is not what"):
                check_description(PRESETS[name], Dataset.open(shared / other))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_a_layout(name: str) -> None:
    fitting = []
    for layout in LAYOUTS.values():
        try:
            check_layout(PRESETS[name], layout)
        except ContractError:
            continue
        fitting.append(layout.name)
    assert "humanoid" in fitting or fitting == ["metaworld"]


def test_what_is_recorded_here_fits(recorded: Path) -> None:
    check_description(METAWORLD, Dataset.open(recorded))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"progres": "progress"}, r"unknown field 'progres' \(did you mean 'progress'\?\)"),
        ({"kind": "telop"}, "kind is 'telop'; it may be teleoperation, umi, egocentric, rollout"),
        ({"kind": "roll-out"}, r"kind is 'roll-out' \(did you mean 'rollout'\?\); it may be"),
        (
            {"supervises": {"vidio": 1}},
            r"supervises.vidio is 'vidio' \(did you mean 'video'\?\); it may be video, action, dynamics, progress",
        ),
        ({"supervises": {}}, "supervises nothing; teleoperation may supervise video, action, dynamics, progress"),
        ({"supervises": {"video": float("inf")}}, "gives video the weight inf, expected above 0"),
        ({"cameras": 3}, "cameras: .*, got 3"),
        ({"supervises": {"video": 0}}, "gives video the weight 0.0, expected above 0"),
        ({"kind": "egocentric", "supervises": {"action": 1}}, "is egocentric and may supervise video, not action"),
        ({"kind": "rollout", "supervises": {"action": 1}}, "is rollout and may supervise video, dynamics, progress, not action"),
        ({"supervises": {"action": 1}}, "no part of `action` is described"),
        ({"state": {"right_gripper": {"feature": "a", "ta": [1]}}}, r"unknown field 'state.right_gripper.ta' \(and 1 more\)"),
        (
            {"state": {"right_gripper": {"feature": "a", "at": [1.5]}}},
            "state.right_gripper.at.0: Input should be a valid integer, got 1.5",
        ),
        ({"state": {"right_gripper": {"feature": "a", "at": [2, 2]}}}, r"state.right_gripper: numbers \[2, 2\] of 'a': .*none twice"),
        ({"state": {"right_gripper": {"feature": "a", "at": [2], "scale": 0}}}, "scale 0.0 .*expected finite numbers and a scale not 0"),
        ({"state": {"right_pose": {"position": {"feature": "a", "at": [0]}, "form": "euler"}}}, "'state.right_pose.rotation' is missing"),
    ],
)
def test_a_slip_of_the_pen_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(SMALL | change))
    with pytest.raises(DescriptionError, match=f"mine.json: .*{message}"):
        find_description(path)


def test_fields_that_are_missing_are_named() -> None:
    with pytest.raises(DescriptionError, match=r"field 'kind' is missing \(and 2 more\)"):
        find_description({"name": "lab"})


def test_what_cannot_be_found_is_named() -> None:
    with pytest.raises(
        DescriptionError, match=r"'droid' is neither a file nor a description \(did you mean 'droid_v30'\?\); there are metaworld"
    ):
        find_description("droid")
    with pytest.raises(DescriptionError, match="not valid JSON"):
        find_description('{"name": ')


@pytest.fixture
def four(tmp_path: Path) -> Dataset:
    return Dataset.open(write_v2(tmp_path / "four", [EpisodeRecord.fake(20)]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": {"head": "frnt"}}, r"it has no camera 'frnt' \(did you mean 'front'\?\) for the role 'head', it has front"),
        ({"sizes": {"observation.state": 7}}, r"feature 'observation.state' has 4 numbers, expected 7"),
        ({"sizes": {"timestamp": 4}}, r"feature 'timestamp' has 1 numbers, expected 4 \(did you mean 'observation.state'\?\)"),
        ({"progress": "progress"}, "it has no feature 'progress', only observation.state, action, timestamp, task_index"),
        ({"success": "tmestamp"}, r"no feature 'tmestamp' \(did you mean 'timestamp'\?\)"),
        ({"state": {"gripper": Numbers(feature="observation.state", at=(9,))}}, "'observation.state' has 4 numbers, number 9 is described"),
        ({"state": {"gripper": Numbers(feature="observation.stat", at=(0,))}}, r"did you mean 'observation.state'\?"),
    ],
)
def test_a_dataset_that_is_not_the_one_described_is_refused(four: Dataset, change: dict[str, Any], message: str) -> None:
    description = SourceDescription(**SMALL)
    check_description(description, four)
    with pytest.raises(ContractError, match=f"four is not what 'lab' describes: .*{message}"):
        check_description(replace(description, **change), four)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": {"right_grip": HAND}}, r"state 'right_grip' is a part of no layout \(did you mean 'right_gripper'\?\)"),
        ({"state": {"right_pose": HAND}}, "is a pose: give `position`, `rotation` and `form`"),
        ({"state": {"right_gripper": HAND}}, "has 3 numbers, expected 1: closed"),
        ({"state": {"right_gripper": Pose(position=HAND, rotation=HAND, form="euler_xyz")}}, "is 1 numbers, not a pose"),
        ({"state": {"right_pose": Pose(position=HAND, rotation=HAND, form="quaternion_xyzw")}}, "a rotation of 3 numbers, expected 4"),
        ({"action": {"right_pose": Pose(position=HAND, rotation=HAND, form="euler_xyz")}}, "no state 'right_pose' is described"),
    ],
)
def test_a_description_that_no_layout_can_hold_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_layout(replace(SourceDescription(**SMALL), **change), DUAL_ARM)


def test_parts_that_this_layout_does_not_have_are_left_out() -> None:
    check_layout(PRESETS["g1_v21"], HUMANOID)
    with pytest.raises(ContractError, match=r"layout 'whole_body' has none of the parts .*\(left_arm, .*\); humanoid would"):
        check_layout(PRESETS["g1_v21"], WHOLE_BODY)
    check_layout(replace(PRESETS["g1_v21"], supervises={"video": 1.0}), WHOLE_BODY)


def test_one_arm_is_the_right_one() -> None:
    assert set(DROID.state) == {"right_pose", "right_gripper"}


def test_two_arms_fill_the_dual_arm_layout_in_order() -> None:
    two_arm = find_description("two_arm")
    check_layout(two_arm, DUAL_ARM)
    columns = []
    for part in DUAL_ARM.parts:
        source = two_arm.action[part.name]
        columns += [*source.position.at, *source.rotation.at] if isinstance(source, Pose) else [*source.at]
    assert columns == list(range(20))
