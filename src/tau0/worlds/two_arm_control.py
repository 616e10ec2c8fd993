"""Torques that bring a hand to a pose: impedance in the space of the hand's motion (Khatib 1987). It remembers nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tau0.worlds.rendering import load_mujoco
from tau0.worlds.two_arm_scene import Arm, Array

STIFFNESS_PER_S2 = 250.0
POSTURE_STIFFNESS_PER_S2 = 20.0
LONGEST_ERROR_M = 0.10
LARGEST_ERROR_RAD = 0.6
OPEN_FINGER_M = 0.04
_SINGULAR = 1e-4


def arm_torques(model: Any, data: Any, arm: Arm, inertia: Array, position: Array, rotation: Array) -> Array:
    """Joint torques (Nm, shape (7,)) that move one hand towards a pose, critically damped.

    An error beyond 10 cm or 0.6 rad counts as that much, so that the hand's speed has a limit. What the pose leaves free brings the
    joints towards their preferred posture.

    Args:
        model: The `MjModel`.
        data: The `MjData`, with positions and velocities up to date.
        arm: Which arm.
        inertia: Of all degrees of freedom, shape (nv, nv).
        position: Wanted, in the world, metres, shape (3,).
        rotation: Wanted, in the world, shape (3, 3).
    """
    mujoco = load_mujoco()
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], arm.hand)
    jacobian = jacobian[:, arm.dofs]
    speeds = data.qvel[arm.dofs]
    error = np.concatenate(
        [
            _shortened(position - data.site_xpos[arm.hand], LONGEST_ERROR_M),
            _shortened(rotation_error(rotation, data.site_xmat[arm.hand].reshape(3, 3)), LARGEST_ERROR_RAD),
        ]
    )
    wanted = STIFFNESS_PER_S2 * error - 2.0 * np.sqrt(STIFFNESS_PER_S2) * (jacobian @ speeds)
    own = inertia[np.ix_(arm.dofs, arm.dofs)]
    to_joints = np.linalg.solve(own, jacobian.T)
    mass = np.linalg.inv(jacobian @ to_joints + _SINGULAR * np.eye(6))
    posture = POSTURE_STIFFNESS_PER_S2 * (arm.posture - data.qpos[arm.joints]) - 2.0 * np.sqrt(POSTURE_STIFFNESS_PER_S2) * speeds
    free = own @ (posture - to_joints @ (mass @ (jacobian @ posture)))
    return jacobian.T @ (mass @ wanted) + free + data.qfrc_bias[arm.dofs]


def joint_inertia(model: Any, data: Any) -> Array:
    """Inertia of all degrees of freedom, shape (nv, nv)."""
    full = np.zeros((model.nv, model.nv))
    load_mujoco().mj_fullM(model, full, data.qM)
    return full


def rotation_error(wanted: Array, current: Array) -> Array:
    """The rotation from `current` to `wanted` as an axis times an angle in [0, pi], in the world, shape (3,)."""
    mujoco = load_mujoco()
    quaternion, error = np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(wanted @ current.T).ravel())
    mujoco.mju_quat2Vel(error, quaternion, 1.0)
    return error


def _shortened(vector: Array, length: float) -> Array:
    size = float(np.linalg.norm(vector))
    return vector if size <= length else vector * (length / size)
