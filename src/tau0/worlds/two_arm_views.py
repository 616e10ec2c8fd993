"""What the three cameras of the two-arm world see: the table from the front, and each hand's fingers with what is below them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tau0.worlds.rendering import View, load_mujoco
from tau0.worlds.two_arm_scene import Scene

CAMERAS = ("head", "left_hand", "right_hand")
"""In the order of the published system: head, left hand, right hand."""

_HEAD = {
    "two-arm-lift": {"lookat": (-0.08, 0.0, 0.93), "distance": 0.95, "azimuth": 180.0, "elevation": -42.0},
    "two-arm-handover": {"lookat": (-0.12, -0.18, 0.98), "distance": 1.35, "azimuth": 180.0, "elevation": -35.0},
}
_WRIST_POSITION = np.array([0.11, 0.0, 0.03])
_WRIST_LOOKS_AT = np.array([0.02, 0.0, 0.13])
_WRIST_FOVY_DEGREES = 80.0
_OUT_OF_THE_HAND = np.array([1.0, 0.0, 0.0])
_PLAIN_RGB = {"floor": (0.62, 0.60, 0.57), "wall": (0.45, 0.45, 0.45), "table": (0.88, 0.88, 0.86)}
_COLLISION_GROUP, _VISIBLE_GROUP, _INVISIBLE_GROUP = 0, 1, 3
_HIDDEN_BODIES = "fixed_mount"
_ARM_RGB = {"robot": (0.90, 0.90, 0.90), "gripper": (0.75, 0.75, 0.78)}
_FINGER_RGB = (0.22, 0.22, 0.24)


def views(scene: Scene) -> tuple[View, ...]:
    """The cameras in the contract's order. Changes the model: moves the hands' cameras, and removes what only costs time."""
    mujoco = load_mujoco()
    head = mujoco.MjvCamera()
    place = _HEAD[scene.task]
    head.lookat[:] = place["lookat"]
    head.distance, head.azimuth, head.elevation = place["distance"], place["azimuth"], place["elevation"]
    for number in (0, 1):
        _mount_wrist_camera(scene.model, f"robot{number}_eye_in_hand")
    _simplify(scene.model)
    return (
        View(name=CAMERAS[0], place=head),
        View(name=CAMERAS[1], place="robot1_eye_in_hand"),
        View(name=CAMERAS[2], place="robot0_eye_in_hand"),
    )


def _mount_wrist_camera(model: Any, name: str) -> None:
    """Moves a hand's camera away from the fingers and tilts it, so that it sees both fingertips and what is between and below them."""
    mujoco = load_mujoco()
    forward = _WRIST_LOOKS_AT - _WRIST_POSITION
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, _OUT_OF_THE_HAND)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), -forward], axis=1)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(axes).ravel())
    camera = model.camera(name).id
    model.cam_pos[camera], model.cam_quat[camera], model.cam_fovy[camera] = _WRIST_POSITION, quaternion, _WRIST_FOVY_DEGREES


def _simplify(model: Any) -> None:
    """Draws the arms by their collision shapes and hides marks and pedestals; table, floor and walls get one colour each.

    The arms' fine meshes have ten times as many triangles, look the same at this size, and take six times as long.
    """
    model.site_group[:] = _INVISIBLE_GROUP
    for geom in range(model.ngeom):
        name, body = model.geom(geom).name, model.body(model.geom_bodyid[geom]).name
        is_collision = model.geom_group[geom] == _COLLISION_GROUP
        arm_rgb = next((rgb for part, rgb in _ARM_RGB.items() if body.startswith(part)), None)
        if arm_rgb is not None and is_collision:
            model.geom_group[geom], model.geom_matid[geom] = _VISIBLE_GROUP, -1
            model.geom_rgba[geom] = (*(_FINGER_RGB if "finger" in body else arm_rgb), 1.0)
        elif arm_rgb is not None or is_collision or body.startswith(_HIDDEN_BODIES):
            model.geom_group[geom] = _INVISIBLE_GROUP
        plain_rgb = next((rgb for part, rgb in _PLAIN_RGB.items() if name.startswith(part)), None)
        if plain_rgb is not None:
            model.geom_matid[geom] = -1
            model.geom_rgba[geom, :3] = plain_rgb
