"""robosuite's two-arm tasks as bare physics: imported quietly, built once, and every name looked up once."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tau0.worlds.rendering import load_mujoco

Array = NDArray[np.float64]

_ENVIRONMENTS = {"two-arm-lift": "TwoArmLift", "two-arm-handover": "TwoArmHandover"}
TASKS = tuple(_ENVIRONMENTS)

_SHAPE_SEED = 7
"""robosuite draws the hammer's size when the scene is built; with this seed its handle is 21 cm long."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Where one arm is in the physics.

    Attributes:
        joints: Indices of its 7 joint positions in `qpos`.
        dofs: Indices of its 7 joint speeds in `qvel`.
        motors: Indices of its 7 torques in `ctrl`.
        fingers: Indices of its 2 finger positions in `qpos`.
        finger_dofs: Indices of its 2 finger speeds in `qvel`.
        finger_motors: Indices of its 2 finger targets in `ctrl`.
        pads: Geometries of the two fingertips, which must both touch a thing that is held.
        hand: Site between the fingertips: x is the axis along which they close, z points out of the hand.
        base_position: Of the base, metres, shape (3,).
        base_rotation: Of the base, shape (3, 3).
        posture: Joint angles that the arm prefers, radians, shape (7,).
    """

    joints: NDArray[np.intp]
    dofs: NDArray[np.intp]
    motors: NDArray[np.intp]
    fingers: NDArray[np.intp]
    finger_dofs: NDArray[np.intp]
    finger_motors: NDArray[np.intp]
    pads: tuple[int, int]
    hand: int
    base_position: Array
    base_rotation: Array
    posture: Array


class Scene:
    """One of robosuite's tasks with two Panda arms side by side, without its controllers and without its renderer."""

    def __init__(self, task: str) -> None:
        """Builds the physics.

        Args:
            task: One of `TASKS`.

        Raises:
            ModuleNotFoundError: robosuite is not installed.
        """
        self.task = task
        with _numpy_seed(_SHAPE_SEED), _quiet():
            self.env: Any = _robosuite().make(
                _ENVIRONMENTS[task],
                robots=["Panda", "Panda"],
                env_configuration="parallel",
                has_renderer=False,
                has_offscreen_renderer=False,
                use_camera_obs=False,
                use_object_obs=False,
                hard_reset=False,
                renderer="mujoco",
            )
        self.model: Any = self.env.sim.model._model
        self.data: Any = self.env.sim.data._data
        self.left, self.right = (_arm(self.model, self.data, self.env.robots[i], i) for i in (1, 0))

    def reset(self, seed: int) -> None:
        """Puts robosuite's own random initial state in place, which depends on `seed` alone."""
        mujoco = load_mujoco()
        with _numpy_seed(seed), _quiet():
            self.env.reset()
        start = self.data.qpos.copy()
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = start
        mujoco.mj_step1(self.model, self.data)

    def is_solved(self) -> bool:
        """Whether robosuite says so; a pot must also be level within 30 degrees, as its reward demands."""
        if not self.env._check_success():
            return False
        return self.task != "two-arm-lift" or self.data.body(self.env.pot.root_body).xmat[8] >= np.cos(np.pi / 6)

    def is_held(self, arm: Arm, things: frozenset[int]) -> bool:
        """Whether both fingertips touch one of `things`, which are geometries."""
        touched = {int(pad) for pair in self.data.contact.geom for pad, other in (pair, pair[::-1]) if int(other) in things}
        return set(arm.pads) <= touched

    def geometries(self, names: list[str]) -> frozenset[int]:
        """Indices of named geometries."""
        return frozenset(self.model.geom(name).id for name in names)


def is_installed() -> bool:
    """Whether robosuite can be imported."""
    return importlib.util.find_spec("robosuite") is not None


def _arm(model: Any, data: Any, robot: Any, number: int) -> Arm:
    finger_names = [f"gripper{number}_right_finger_joint{k}" for k in (1, 2)]
    joint_names = [f"robot{number}_joint{k}" for k in range(1, 8)]
    base = data.body(f"robot{number}_base")

    def of(names: list[str], kind: str) -> NDArray[np.intp]:
        return np.array([getattr(model.joint(name), kind)[0] for name in names], np.intp)

    return Arm(
        joints=of(joint_names, "qposadr"),
        dofs=of(joint_names, "dofadr"),
        motors=np.array([model.actuator(f"robot{number}_torq_j{k}").id for k in range(1, 8)], np.intp),
        fingers=of(finger_names, "qposadr"),
        finger_dofs=of(finger_names, "dofadr"),
        finger_motors=np.array([model.actuator(f"gripper{number}_right_gripper_finger_joint{k}").id for k in (1, 2)], np.intp),
        pads=(model.geom(f"gripper{number}_right_finger1_pad_collision").id, model.geom(f"gripper{number}_right_finger2_pad_collision").id),
        hand=model.site(f"gripper{number}_right_grip_site").id,
        base_position=base.xpos.copy(),
        base_rotation=base.xmat.reshape(3, 3).copy(),
        posture=np.array(robot.init_qpos, np.float64),
    )


@cache
def _robosuite() -> Any:
    """The module, without compiling on import and with no cache on disk: none of what it would compile is used in a loop here.

    Raises:
        ModuleNotFoundError: robosuite is not installed.
    """
    if not is_installed():
        raise ModuleNotFoundError("No module named 'robosuite'", name="robosuite")
    load_mujoco()
    numba = importlib.import_module("numba")
    compiles = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    try:
        with _quiet():
            return importlib.import_module("robosuite")
    finally:
        numba.config.DISABLE_JIT = compiles


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps robosuite's advice off the console."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """robosuite draws from numpy's global generator. It is seeded for as long as that lasts, and then put back as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
