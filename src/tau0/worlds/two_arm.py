"""robosuite's lift and handover: two Panda arms, three cameras, the published 20 numbers as state and action (SPEC.md section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ActionSpec, Camera, Embodiment, Float, Observation
from tau0.limits import Meaning, SafetyLimits
from tau0.worlds.instructions import check_task, train_instructions
from tau0.worlds.protocol import Misbelief
from tau0.worlds.rendering import Pictures, load_mujoco
from tau0.worlds.two_arm_control import OPEN_FINGER_M, arm_torques, joint_inertia
from tau0.worlds.two_arm_experts import Expert, make_expert
from tau0.worlds.two_arm_hands import HandTarget
from tau0.worlds.two_arm_scene import TASKS, Arm, Array, Scene
from tau0.worlds.two_arm_views import CAMERAS, views

TWO_ARM = TASKS
IMAGE_SIZE = 96
CONTROL_HZ = 20.0
MAX_STEPS = 300

_POSE = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32")
_NAMES = tuple(f"{side}_{part}" for side in ("left", "right") for part in (*(f"pose.{name}" for name in _POSE), "gripper.closed"))
EMBODIMENT = Embodiment(
    name="robosuite-two-panda",
    cameras=tuple(Camera(name=name, height=IMAGE_SIZE, width=IMAGE_SIZE) for name in CAMERAS),
    state_names=_NAMES,
    action=ActionSpec(names=_NAMES, low=((-1.0,) * 9 + (0.0,)) * 2, high=(1.0,) * 20, gripper=(9, 19)),
    control_hz=CONTROL_HZ,
    action_horizon=17,
    frame_stride=8,
)
_NOT_THE_HAND = (None,) * 7
_POSE_OF_A_HAND: tuple[Meaning, ...] = ("position",) * 9
SAFETY = SafetyLimits(
    meaning=(*_POSE_OF_A_HAND, "effort") * 2,
    step_size=(1.0,) * 20,
    low=(-1.0, -1.0, -0.2, *_NOT_THE_HAND) * 2,
    high=(1.0, 1.0, 1.0, *_NOT_THE_HAND) * 2,
    speed=(2.0, 2.0, 2.0, *_NOT_THE_HAND) * 2,
    acceleration=(80.0, 80.0, 80.0, *_NOT_THE_HAND) * 2,
    rotations=(3, 13),
    turn_speed=6.0,
    turn_acceleration=240.0,
)
"""What a Panda's hand can reach, and how fast; metres in the frame of the arm's base."""

_TORQUE_EVERY = 2


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    physics: NDArray[np.float64]
    step: int
    instruction: str


class TwoArm:
    """One two-arm task as a `World`.

    State and action are 20 absolute numbers: left hand's position (metres) and rotation-6D in the frame of the left arm's base, left
    gripper (0 open, 1 closed), then the right arm's. The state holds where the hands are, the action where they should go. The objects
    must be seen in the pictures.
    """

    def __init__(self, task: str, max_steps: int = MAX_STEPS) -> None:
        """Builds the physics.

        Args:
            task: One of `TWO_ARM`.
            max_steps: Control steps after which an episode has failed.

        Raises:
            UnknownTaskError: There is no such task.
            ModuleNotFoundError: robosuite is not installed.
            RenderingUnavailableError: Nothing here can draw without a screen.
        """
        self.task = check_task(task)
        self.embodiment = EMBODIMENT
        self.max_steps = max_steps
        self._scene = Scene(task)
        self._expert: Expert = make_expert(self._scene)
        self._arms = (self._scene.left, self._scene.right)
        self._substeps = round(1.0 / (CONTROL_HZ * self._scene.model.opt.timestep))
        self._pictures = Pictures(self._scene.model, views(self._scene), IMAGE_SIZE)
        self._step = 0
        self._instruction = train_instructions(task)[0]

    def reset(self, seed: int, instruction: str | None = None) -> None:
        """Starts an episode whose initial state depends on `seed` alone; the instruction is the task's main one unless given."""
        self._scene.reset(seed)
        self._step = 0
        self._instruction = instruction or train_instructions(self.task)[0]

    def state(self) -> Float:
        """Both hands' poses and grippers, shape (20,), without drawing anything."""
        return np.concatenate([self._arm_state(arm) for arm in self._arms]).astype(np.float32)

    def observe(self) -> Observation:
        """Draws the three cameras and reads the state."""
        images = self._pictures.draw(self._scene.data)
        return Observation(images=images, state=self.state(), instruction=self._instruction, step=self._step)

    def step(self, action: Float) -> bool:
        """Moves both hands towards the poses of one action of shape (20,), clipped to the limits. Returns whether the task is solved now.

        A rotation-6D from which no rotation can be made leaves the hand's rotation as it is.
        """
        mujoco, model, data = load_mujoco(), self._scene.model, self._scene.data
        wanted = EMBODIMENT.action.clip(action).astype(np.float64)
        targets = [self._in_world(arm, part) for arm, part in zip(self._arms, np.split(wanted, 2), strict=True)]
        for substep in range(self._substeps):
            if substep % _TORQUE_EVERY == 0:
                inertia = joint_inertia(model, data)
                for arm, target in zip(self._arms, targets, strict=True):
                    data.ctrl[arm.motors] = arm_torques(model, data, arm, inertia, target.position, target.rotation)
                    data.ctrl[arm.finger_motors] = OPEN_FINGER_M * (1.0 - target.closed) * np.array([1.0, -1.0])
            mujoco.mj_step2(model, data)
            mujoco.mj_step1(model, data)
        self._step += 1
        return self._scene.is_solved()

    def expert_action(self, misbelief: Misbelief | None = None) -> Float:
        """What the scripted expert would do now, shape (20,), within the limits; with a misbelief, what it would wrongly do."""
        targets = self._expert(self._scene, misbelief or Misbelief())
        parts = [self._in_base(arm, target) for arm, target in zip(self._arms, targets, strict=True)]
        return EMBODIMENT.action.clip(np.concatenate(parts).astype(np.float32))

    def snapshot(self) -> _Snapshot:
        """The complete state of the episode. Controller and expert remember nothing, so the physics is all there is."""
        mujoco, model = load_mujoco(), self._scene.model
        physics = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(model, self._scene.data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        return _Snapshot(physics=physics, step=self._step, instruction=self._instruction)

    def restore(self, snapshot: _Snapshot) -> None:
        """Puts the episode back, bit for bit, to where `snapshot` was taken. A snapshot can be restored any number of times."""
        mujoco, model, data = load_mujoco(), self._scene.model, self._scene.data
        mujoco.mj_setState(model, data, snapshot.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_step1(model, data)
        self._step, self._instruction = snapshot.step, snapshot.instruction

    def close(self) -> None:
        """Frees the renderer."""
        self._pictures.close()

    def _arm_state(self, arm: Arm) -> Array:
        data = self._scene.data
        opening = float(np.abs(data.qpos[arm.fingers]).mean()) / OPEN_FINGER_M
        now = HandTarget(position=data.site_xpos[arm.hand], rotation=data.site_xmat[arm.hand].reshape(3, 3), closed=1.0 - opening)
        return self._in_base(arm, now)

    def _in_base(self, arm: Arm, target: HandTarget) -> Array:
        """Ten numbers of one hand, in the frame of its arm's base."""
        turn = arm.base_rotation.T
        columns = (turn @ target.rotation)[:, :2].T.ravel()
        closed = np.clip(target.closed, 0.0, 1.0)
        return np.concatenate([turn @ (target.position - arm.base_position), columns, [closed]])

    def _in_world(self, arm: Arm, numbers: Array) -> HandTarget:
        """Inverse of `_in_base`."""
        rotation = _gram_schmidt(numbers[3:6], numbers[6:9])
        in_world = self._scene.data.site_xmat[arm.hand].reshape(3, 3).copy() if rotation is None else arm.base_rotation @ rotation
        position = arm.base_position + arm.base_rotation @ numbers[:3]
        return HandTarget(position=position, rotation=in_world, closed=float(numbers[9]))


def make_world(task: str, max_steps: int = MAX_STEPS) -> TwoArm:
    """The world of one task.

    Raises:
        UnknownTaskError: There is no such task; the message says what was probably meant.
        ModuleNotFoundError: robosuite is not installed.
    """
    return TwoArm(task, max_steps)


def _gram_schmidt(first: Array, second: Array) -> Array | None:
    """The rotation whose first two columns these nearly are, or None where they say nothing."""
    x = first / max(float(np.linalg.norm(first)), 1e-12)
    y = second - (x @ second) * x
    if np.linalg.norm(first) < 1e-6 or np.linalg.norm(y) < 1e-6:
        return None
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
