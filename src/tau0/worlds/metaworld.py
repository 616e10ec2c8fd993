"""Meta-World v3: fifty table-top tasks of a simulated Sawyer arm, each with a scripted expert."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tau0.contract import ActionSpec, Camera, Embodiment, Float, Observation
from tau0.limits import SafetyLimits
from tau0.worlds.instructions import check_task, train_instructions
from tau0.worlds.protocol import Misbelief
from tau0.worlds.rendering import Pictures, View, load_mujoco
from tau0.worlds.wordings import INSTRUCTIONS

DEMO_SUITE = ("reach-v3", "push-v3", "pick-place-v3", "button-press-topdown-v3", "drawer-open-v3")
MT50 = tuple(INSTRUCTIONS)

IMAGE_SIZE = 96
EMBODIMENT = Embodiment(
    name="metaworld-sawyer",
    cameras=(
        Camera(name="front", height=IMAGE_SIZE, width=IMAGE_SIZE),
        Camera(name="wrist", height=IMAGE_SIZE, width=IMAGE_SIZE),
    ),
    state_names=("hand_x_m", "hand_y_m", "hand_z_m", "gripper_opening"),
    action=ActionSpec(names=("dx", "dy", "dz", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, gripper=(3,)),
    control_hz=80.0,
    action_horizon=17,
    frame_stride=8,
)
SAFETY = SafetyLimits(
    meaning=("step", "step", "step", "effort"),
    step_size=(0.01, 0.01, 0.01, 1.0),
    low=(-0.5, 0.35, -0.15, None),
    high=(0.5, 1.0, 0.5, None),
    speed=(0.8, 0.8, 0.8, None),
    acceleration=(128.0, 128.0, 128.0, None),
)
"""The widest range of the hand in any of the fifty tasks. Speed and acceleration are the most that actions in [-1, 1] can ask for: 1 cm a
control step, to and fro. Meta-World's experts do ask for that."""

_FRONT = {"lookat": (0.0, 0.68, 0.19), "distance": 0.78, "azimuth": 160.0, "elevation": -40.0}
_WRIST_CAMERA = "gripperPOV"
_WRIST_POSITION = np.array([0.11, -0.09, 0.10])
_WRIST_LOOKS_AT = np.array([0.0, 0.15, -0.09])
_WRIST_FOVY_DEGREES = 82.0
OUT_OF_SIGHT = ("right_arm_base_link", "right_l0", "right_l1", "head", "pedestal")
_PLAIN = {"table_wood": (0.40, 0.30, 0.23), "basic_floor": (0.74, 0.74, 0.74), "wall_metal": (0.42, 0.42, 0.42)}
_HAND_TO_WORLD = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
_OBJECTS = (slice(4, 7), slice(11, 14))
_GOAL = slice(36, 39)
_NEVER = 10**9


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    physics: NDArray[np.float64]
    body_pos: NDArray[np.float64]
    site_pos: NDArray[np.float64]
    attributes: dict[str, Any]
    observed: NDArray[np.float64]
    step: int
    instruction: str


class MetaWorld:
    """One Meta-World task as a `World`.

    The state is the hand's position (metres) and the gripper's opening in [0, 1]; where the goal and the objects are must be seen in the
    pictures. Actions move the hand by up to 1 cm along each axis and close (1) or open (-1) the gripper.
    """

    def __init__(self, task: str, max_steps: int = 500) -> None:
        """Builds the physics.

        Args:
            task: Such as "reach-v3".
            max_steps: Control steps after which an episode has failed.

        Raises:
            UnknownTaskError: There is no such task.
            RenderingUnavailableError: Nothing here can draw without a screen.
        """
        self.task = check_task(task)
        self.embodiment = EMBODIMENT
        self.max_steps = max_steps
        self._env, self._expert = _build(task)
        self._pictures = Pictures(self._env.model, _views(self._env.model), IMAGE_SIZE)
        self._observed = np.zeros(39)
        self._step = 0
        self._instruction = train_instructions(task)[0]

    def reset(self, seed: int, instruction: str | None = None) -> None:
        """Starts an episode whose initial state depends on `seed` alone; the instruction is the task's main one unless given.

        Meta-World moves goals and objects without telling the physics where they now are, so that the first picture would show the last
        episode's: restoring does tell it, and changes nothing else.
        """
        self._env.seed(seed)
        self._observed, _ = self._env.reset()
        self._step = 0
        self._instruction = instruction or train_instructions(self.task)[0]
        self.restore(self.snapshot())

    def state(self) -> Float:
        """Hand position (metres) and gripper opening in [0, 1], shape (4,), without drawing anything."""
        return self._observed[:4].astype(np.float32)

    def observe(self) -> Observation:
        """Draws both cameras and reads the state."""
        return Observation(images=self._pictures.draw(self._env.data), state=self.state(), instruction=self._instruction, step=self._step)

    def step(self, action: Float) -> bool:
        """Executes one action of shape (4,), clipped to [-1, 1]. Returns whether the task is solved now."""
        self._observed, _, _, _, info = self._env.step(np.clip(action, -1.0, 1.0).astype(np.float32))
        self._step += 1
        return bool(info["success"])

    def expert_action(self, misbelief: Misbelief | None = None) -> Float:
        """What the scripted expert would do now, shape (4,), in [-1, 1]; with a misbelief, what it would wrongly do."""
        seen = self._observed if misbelief is None else _mistaken(self._observed, misbelief)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action = self._expert.get_action(seen)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def snapshot(self) -> _Snapshot:
        """The complete state of the episode: physics with everything derived from it, and what the task itself remembers."""
        model = self._env.model
        return _Snapshot(
            physics=_physics(self._env.model, self._env.data),
            body_pos=model.body_pos.copy(),
            site_pos=model.site_pos.copy(),
            attributes=copy.deepcopy(_own_attributes(self._env)),
            observed=self._observed.copy(),
            step=self._step,
            instruction=self._instruction,
        )

    def restore(self, snapshot: _Snapshot) -> None:
        """Puts the episode back, bit for bit, to where `snapshot` was taken. A snapshot can be restored any number of times."""
        mujoco, model = load_mujoco(), self._env.model
        model.body_pos[:], model.site_pos[:] = snapshot.body_pos, snapshot.site_pos
        mujoco.mj_setState(model, self._env.data, snapshot.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(model, self._env.data)
        mujoco.mj_setState(model, self._env.data, snapshot.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        self._env.__dict__.update(copy.deepcopy(snapshot.attributes))
        self._observed = snapshot.observed.copy()
        self._step, self._instruction = snapshot.step, snapshot.instruction

    def close(self) -> None:
        """Frees the renderer."""
        self._pictures.close()


def make_world(task: str, max_steps: int = 500) -> MetaWorld:
    """The world of one task.

    Raises:
        UnknownTaskError: There is no such task; the message says what was probably meant.
    """
    return MetaWorld(task, max_steps)


def _build(task: str) -> tuple[Any, Any]:
    load_mujoco()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        from metaworld.policies import ENV_POLICY_MAP

        env = cast(Any, ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE)[f"{task}-goal-observable"](seed=0)
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env.max_path_length = _NEVER
    return env, ENV_POLICY_MAP[task]()


def _views(model: Any) -> tuple[View, View]:
    mujoco = load_mujoco()
    front = mujoco.MjvCamera()
    front.lookat[:] = _FRONT["lookat"]
    front.distance, front.azimuth, front.elevation = _FRONT["distance"], _FRONT["azimuth"], _FRONT["elevation"]
    _mount_wrist_camera(model)
    _hide_torso(model)
    _remove_scenery_textures(model)
    return View(name="front", place=front), View(name="wrist", place=_WRIST_CAMERA)


def _mount_wrist_camera(model: Any) -> None:
    """Moves Meta-World's hand camera beside and behind the fingers, where it sees both of them, the object and mostly the goal."""
    mujoco = load_mujoco()
    forward = _WRIST_LOOKS_AT - _WRIST_POSITION
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), -forward], axis=1)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, (_HAND_TO_WORLD.T @ axes).ravel())
    camera = model.camera(_WRIST_CAMERA).id
    model.cam_mode[camera] = mujoco.mjtCamLight.mjCAMLIGHT_FIXED
    model.cam_pos[camera], model.cam_quat[camera] = _HAND_TO_WORLD.T @ _WRIST_POSITION, quaternion
    model.cam_fovy[camera] = _WRIST_FOVY_DEGREES


def _hide_torso(model: Any) -> None:
    """Makes the parts of the robot invisible that no camera sees: their meshes cost a third of the drawing time."""
    hidden = [model.body(name).id for name in OUT_OF_SIGHT]
    model.geom_rgba[np.isin(model.geom_bodyid, hidden), 3] = 0.0


def _remove_scenery_textures(model: Any) -> None:
    """Paints table, floor and walls in one colour each: their wood and metal say nothing, and double the drawing time."""
    for material in range(model.nmat):
        colour = _PLAIN.get(model.mat(material).name)
        if colour is not None:
            model.mat_texid[material] = -1
            model.mat_rgba[material, :3] = colour


def _physics(model: Any, data: Any) -> NDArray[np.float64]:
    mujoco = load_mujoco()
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, state, kind)
    return state


def _mistaken(observed: NDArray[np.float64], misbelief: Misbelief) -> NDArray[np.float64]:
    seen = observed.copy()
    for where in _OBJECTS:
        if seen[where].any():
            seen[where] += misbelief.objects
    seen[_GOAL] += misbelief.goal
    return seen


def _own_attributes(env: Any) -> dict[str, Any]:
    """What the task keeps in Python: everything but the physics and what never changes. Live views into the physics are left alone."""
    fixed = ("model", "data", "mujoco_renderer", "action_space", "observation_space", "goal_space", "spec", "sawyer_observation_space")
    return {name: value for name, value in env.__dict__.items() if name not in fixed and not _is_live(value)}


def _is_live(value: Any) -> bool:
    """Whether this is an array that looks into the physics' own memory."""
    if not isinstance(value, np.ndarray):
        return False
    while isinstance(value, np.ndarray) and value.base is not None:
        value = value.base
    return not isinstance(value, np.ndarray)
