"""What crosses a wire or reaches a robot. Numpy only, so that a robot can import it without torch.

Letters follow SPEC.md: `v` views, `n` candidates, `ha` action horizon, `da` action dimension, `ds` state dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class ContractError(ValueError):
    """Two sides disagree about a field of the contract. The message names the field and both values."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One view: its name, and its size in pixels."""

    name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """Which number of an action means what.

    Attributes:
        names: One name per dimension, in order. Length is the action dimension `da`.
        low: Smallest value the robot accepts, per dimension, in robot units.
        high: Largest value the robot accepts, per dimension, in robot units.
        gripper: Indices of the dimensions that are grippers.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    gripper: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.low) == len(self.high):
            raise ContractError(
                f"action names, low and high must have one length, got {len(self.names)}, {len(self.low)}, {len(self.high)}"
            )

    @property
    def dim(self) -> int:
        """The action dimension `da`."""
        return len(self.names)

    def clip(self, actions: Float) -> Float:
        """Actions limited to [low, high], any leading shape."""
        return np.clip(actions, np.asarray(self.low, np.float32), np.asarray(self.high, np.float32))


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """A robot as the model sees it: cameras in canvas order, state, action and rate.

    Attributes:
        name: For people, and for error messages.
        cameras: In the order in which they lie side by side on the canvas. The order is part of the contract.
        state_names: One name per number of the proprioceptive state. The state has as many numbers as the action.
        action: The action's layout and limits.
        control_hz: Actions a second.
        action_horizon: Steps `ha` in a chunk: `group * future latent frames + 1`.
        frame_stride: Actions between two pixel frames of a window.
    """

    name: str
    cameras: tuple[Camera, ...]
    state_names: tuple[str, ...]
    action: ActionSpec
    control_hz: float
    action_horizon: int
    frame_stride: int

    def check(self, other: Embodiment) -> None:
        """Raises `ContractError` naming the first field in which `other` differs, with both values."""
        for name in ("cameras", "state_names", "action", "control_hz", "action_horizon", "frame_stride"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ContractError(f"{other.name!r} does not fit {self.name!r}: {name} is {theirs!r}, expected {mine!r}")


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """What a robot will do from an observation on, whatever is answered: it moves while it waits (real-time chunking).

    Attributes:
        actions: Left of the last chunk, in robot units, shape (steps, da): the first one is executed at the observation's step. None of
            them where the robot moves, but the answer need not continue its motion.
        num_frozen: How many of them will have been executed before the answer is there, as far as delays are known.
    """

    actions: Float
    num_frozen: int

    def check(self, embodiment: Embodiment) -> None:
        """Raises `ContractError` when this cannot be the beginning of such a robot's chunk."""
        actions, dim, horizon = self.actions, embodiment.action.dim, embodiment.action_horizon
        if actions.ndim != 2 or actions.shape[1] != dim or len(actions) > horizon:
            raise ContractError(f"committed actions have shape {actions.shape}, expected (at most {horizon}, {dim})")
        if not np.isfinite(actions).all():
            raise ContractError("committed actions hold a value that is not finite")
        if not 0 <= self.num_frozen <= len(actions):
            raise ContractError(f"num_frozen is {self.num_frozen}, it must lie between 0 and the {len(actions)} committed actions")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the robot sees and is told at one control step.

    Attributes:
        images: Camera name to uint8 pixels of shape (height, width, 3).
        state: Proprioception in robot units, shape (ds,).
        instruction: What to do, in words.
        step: Control steps since the reset of the episode, from 0.
        committed: What the robot does meanwhile, which the answer should continue; None where it waits.
    """

    images: Mapping[str, Pixels]
    state: Float
    instruction: str
    step: int = 0
    committed: Commitment | None = None

    def check(self, embodiment: Embodiment) -> None:
        """Raises `ContractError` when a camera, size, dtype or the state does not fit the embodiment."""
        for camera in embodiment.cameras:
            if camera.name not in self.images:
                raise ContractError(f"observation lacks camera {camera.name!r}; it has {sorted(self.images)}")
            image, wanted = self.images[camera.name], (camera.height, camera.width, 3)
            if image.shape != wanted or image.dtype != np.uint8:
                raise ContractError(f"camera {camera.name!r} gives {image.dtype} {image.shape}, expected uint8 {wanted}")
        if self.state.shape != (len(embodiment.state_names),):
            raise ContractError(f"state has shape {self.state.shape}, expected ({len(embodiment.state_names)},): {embodiment.state_names}")
        if not np.isfinite(self.state).all():
            raise ContractError(f"state holds a value that is not finite: {self.state.tolist()}")
        if self.committed is not None:
            self.committed.check(embodiment)

    @classmethod
    def fake(cls, embodiment: Embodiment, seed: int = 0) -> Observation:
        """A random observation of the right shape, for tests."""
        rng = np.random.default_rng(seed)
        images = {c.name: rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8) for c in embodiment.cameras}
        return cls(images=images, state=rng.normal(size=len(embodiment.state_names)).astype(np.float32), instruction="pick up the cube")


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """What the robot executes: `actions` in robot units, shape (steps, da), at `control_hz`."""

    actions: Float
    control_hz: float

    def __len__(self) -> int:
        return len(self.actions)


Choice = Literal["single", "random", "medoid", "rcs", "simulated", "revised", "oracle"]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """One round of proposals and what was found out about them.

    Attributes:
        actions: In robot units, shape (n, ha, da).
        scores: Re-denoising consistency, shape (n,), higher is better; None where it was not asked for.
        progress: Simulated progress in [-1, 1], shape (n, ha); None where nothing was simulated. Rows of candidates that were left out
            for lack of time are not numbers.
        frames: Imagined pixels, shape (n, v, f, h, w, 3), future frames only; None unless recorded.
        outcomes: What really happened when each was tried in a copy of the world: control steps until the task was solved, counting the
            chunk's own and those that the world's expert needed after it; infinity where it was not. Shape (n,); None unless tried.
    """

    actions: Float
    scores: Float | None = None
    progress: Float | None = None
    frames: Pixels | None = None
    outcomes: Float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One query of the planner, complete: what was considered, what was chosen, why, and what it cost.

    Attributes:
        step: Control step of the observation.
        mode: The planner's mode, such as "single", "rcs" or "full".
        proposals: The first round.
        gate_threshold: The gate's gamma; None where the mode has no gate.
        gate_passed: Whether the best score reached it; None where the mode has no gate.
        revision: The second round, conditioned on the most promising future; None unless it happened.
        choice: Which rule picked the chunk that was executed.
        chosen: Its index in its own round.
        peak: Step of its highest simulated progress; None where nothing was simulated.
        chunk: What is sent to the robot.
        milliseconds: Wall time by stage: encode, propose, score, simulate, revise, total.
        skipped: What was left out for lack of time, in words.
        expert_steps: Control steps in which the world's expert would have solved the task from here, infinity where it would not; None
            unless candidates were tried.
    """

    step: int
    mode: str
    proposals: Candidates
    choice: Choice
    chosen: int
    chunk: ActionChunk
    gate_threshold: float | None = None
    gate_passed: bool | None = None
    revision: Candidates | None = None
    peak: int | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    expert_steps: float | None = None
