"""The world model as a Gymnasium environment: a chunk in, imagined pictures and progress out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from tau0.actions import REJECT_ABOVE
from tau0.checkpoint import Checkpoint, CheckpointError
from tau0.contract import ContractError, Embodiment, Float, Observation, Pixels
from tau0.encode import ObservationEncoder, executable_actions, latents_to_frames
from tau0.simulate.reckoning import reckoned_state
from tau0.simulate.simulator import ActionConditionedSimulator
from tau0.worlds.registry import limits_of

ENV_ID = "tau0/Imagined-v0"
SOLVED_AT = 0.9
MAX_CHUNKS = 20

Seen = dict[str, Any]
"""What `reset` and `step` return: "images", camera name to uint8 (height, width, 3), and "state", float32 (ds,)."""


class ImaginedEnv(gymnasium.Env[Seen, NDArray[np.float32]]):
    """An environment in which nothing happens but in the model's imagination.

    An action is a chunk in robot units, `action_horizon - 1` control steps long: as many as the imagined frames cover. A step imagines
    where it leads from the last observation and its memory; the last imagined frame becomes the next observation, pixels and all, as if a
    camera had seen it. The state is reckoned from the commands (`reckoned_state`). The reward is the progress, in [-1, 1], that the model
    sees at the chunk's end. The noise of every step follows from the seed of `reset`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        checkpoint: Checkpoint,
        start: Observation | Sequence[Observation] = (),
        *,
        num_steps: int | None = None,
        solved_at: float = SOLVED_AT,
        max_chunks: int = MAX_CHUNKS,
        render_mode: str | None = None,
    ) -> None:
        """An environment of a checkpoint that has a simulator.

        Args:
            checkpoint: Networks and contract.
            start: Where episodes start: one of these observations, drawn by the seed. None are needed if every `reset` is given one.
            num_steps: Denoising steps of a future; the checkpoint's own number unless given.
            solved_at: Progress from which on an episode counts as solved, and ends.
            max_chunks: Chunks after which it is cut off.
            render_mode: "rgb_array" to see all views side by side.

        Raises:
            CheckpointError: The checkpoint has no simulator.
            ContractError: A start does not fit its robot.
            ValueError: An unknown render mode, or no chunk allowed.
        """
        config = checkpoint.config
        simulator = config.model if config.simulator is None else config.simulator
        if simulator.conditioning is None or simulator.progress is None:
            raise CheckpointError(f"{config.name!r} has no simulator: nothing can be imagined with it")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}, expected one of {self.metadata['render_modes']}, or none")
        if max_chunks < 1:
            raise ValueError(f"max_chunks must be at least 1, got {max_chunks}")
        self.render_mode = render_mode
        self._checkpoint, self._num_steps, self._solved_at, self._max_chunks = checkpoint, num_steps, solved_at, max_chunks
        self._robot, self._limits = config.embodiment, config.safety or limits_of(config.embodiment)
        self._starts = (start,) if isinstance(start, Observation) else tuple(start)
        for observation in self._starts:
            observation.check(self._robot)
        self._simulator, self._encoder = ActionConditionedSimulator(checkpoint), ObservationEncoder(checkpoint)
        self._now: Observation | None = None
        self._chunks = 0
        mean, std = (np.asarray(numbers) for numbers in (config.codec.state.mean, config.codec.state.std))
        lowest, highest = ((mean + sign * REJECT_ABOVE * std).astype(np.float32) for sign in (-1, 1))
        self.observation_space = observation_space(self._robot, lowest, highest)
        self.action_space = action_space(self._robot)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """The first observation of an episode, and the instruction.

        Args:
            seed: Of the noise, and of which start is drawn.
            options: `{"observation": Observation}` starts there.

        Raises:
            ContractError: There is no start, or it does not fit the robot.
        """
        super().reset(seed=seed)
        given = (options or {}).get("observation")
        if given is None and not self._starts:
            raise ContractError("nowhere to start from: give the environment starts, or reset(options={'observation': Observation(...)})")
        start = self._starts[self.np_random.integers(len(self._starts))] if given is None else given
        if not isinstance(start, Observation):
            raise ContractError(f"options['observation'] is of type {type(start).__name__}, expected a tau0.contract.Observation")
        start.check(self._robot)
        self._encoder.reset()
        self._now, self._chunks = Observation(images=dict(start.images), state=start.state, instruction=start.instruction), 0
        return self._seen(self._now), {"instruction": start.instruction}

    @torch.inference_mode()
    def step(self, action: NDArray[np.float32]) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Imagines a chunk. `info` holds "progress", float32 (ha,), and all imagined "frames", uint8 (v, t, height, width, 3).

        Raises:
            ContractError: The episode has not begun, or the chunk is of another shape or not finite.
        """
        before, config = self._now, self._checkpoint.config
        if before is None:
            raise ContractError("call reset() before step()")
        chunk = self._checked(action)
        conditioning = self._encoder.encode(before)
        state = torch.from_numpy(before.state).float()
        whole = torch.from_numpy(np.concatenate([chunk, chunk[-1:]]))[None]
        normalised = config.codec.encode(whole, state[None]).to(conditioning.current.device)
        noise = torch.Generator().manual_seed(int(self.np_random.integers(2**31)))
        futures = self._simulator.imagine(conditioning, executable_actions(config, normalised, state), noise, self._num_steps)
        frames = latents_to_frames(self._checkpoint, futures.latents, conditioning.current)[0]
        progress = futures.progress[0].float().cpu().numpy().copy()
        self._now, self._chunks = self._after(before, chunk, frames), self._chunks + 1
        reward = float(progress[-1])
        info = {"progress": progress, "frames": frames}
        return self._seen(self._now), reward, reward >= self._solved_at, self._chunks >= self._max_chunks, info

    def render(self) -> Any:
        """All views of the last observation side by side, uint8 (height, width, 3), in the render mode "rgb_array"; otherwise None."""
        if self.render_mode is None or self._now is None:
            return None
        pictures = [self._now.images[camera.name] for camera in self._robot.cameras]
        tallest = max(len(picture) for picture in pictures)
        return np.concatenate([np.pad(picture, ((0, tallest - len(picture)), (0, 0), (0, 0))) for picture in pictures], axis=1)

    def _checked(self, action: NDArray[np.float32]) -> Float:
        chunk = np.asarray(action, np.float32)
        if chunk.shape != self.action_space.shape or not np.isfinite(chunk).all():
            raise ContractError(f"a chunk of shape {chunk.shape} was given, expected finite numbers of shape {self.action_space.shape}")
        return self._robot.action.clip(chunk)

    def _after(self, before: Observation, chunk: Float, frames: Pixels) -> Observation:
        """What the robot would observe at the chunk's end."""
        images = {camera.name: frames[view, -1].copy() for view, camera in enumerate(self._robot.cameras)}
        space = self.observation_space["state"]  # pyright: ignore[reportIndexIssue]
        state = np.clip(reckoned_state(before.state, chunk, self._limits), space.low, space.high)
        return Observation(images=images, state=state, instruction=before.instruction, step=before.step + len(chunk))

    @staticmethod
    def _seen(observation: Observation) -> Seen:
        """Copies, which the caller may change."""
        images = {name: np.array(picture) for name, picture in observation.images.items()}
        return {"images": images, "state": np.array(observation.state, np.float32)}


def observation_space(robot: Embodiment, low: Float, high: Float) -> spaces.Dict:
    """Pictures of every camera, and a state between `low` and `high`."""
    cameras: dict[str, spaces.Space[Any]] = {c.name: spaces.Box(0, 255, (c.height, c.width, 3), np.uint8) for c in robot.cameras}
    return spaces.Dict({"images": spaces.Dict(cameras), "state": spaces.Box(low, high, dtype=np.float32)})


def action_space(robot: Embodiment) -> spaces.Box[np.float32]:
    """Chunks within the action's limits, shape (ha - 1, da): the last of `ha` actions leads beyond what is imagined."""
    low, high = (np.tile(np.asarray(side, np.float32), (robot.action_horizon - 1, 1)) for side in (robot.action.low, robot.action.high))
    return spaces.Box(low, high, dtype=np.float32)


if ENV_ID not in gymnasium.registry:
    gymnasium.register(id=ENV_ID, entry_point="tau0.simulate.imagined_env:ImaginedEnv")
