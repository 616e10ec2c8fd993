"""Watches an episode and turns it into a trace: frames of real video and every decision."""

from __future__ import annotations

import numpy as np

from tau0.contract import Decision, Embodiment, Observation, Pixels
from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.trace import EpisodeTrace


class TraceRecorder:
    """An `Observer` that keeps everything of one episode.

    Attributes:
        frame_every: Control steps between two frames of video; 0 keeps decisions alone.
    """

    def __init__(self, embodiment: Embodiment, frame_every: int, scored_by: str = "") -> None:
        """Raises `ValueError` when `frame_every` is negative. For `scored_by` see `EpisodeTrace`."""
        if frame_every < 0:
            raise ValueError(f"frame_every must be at least 0, got {frame_every}")
        self.frame_every = frame_every
        self._embodiment = embodiment
        self._scored_by = scored_by
        self._frames: list[Pixels] = []
        self._frame_steps: list[int] = []
        self._decisions: list[Decision] = []

    def on_frame(self, observation: Observation) -> None:
        """Keeps the pixels of every camera."""
        views = [observation.images[camera.name] for camera in self._embodiment.cameras]
        self._frames.append(np.stack(views))
        self._frame_steps.append(observation.step)

    def on_decision(self, observation: Observation, decision: Decision) -> None:  # noqa: ARG002
        """Keeps the decision."""
        self._decisions.append(decision)

    def trace(self, result: EpisodeResult) -> EpisodeTrace:
        """The episode, once it has ended. All cameras must have one size."""
        return EpisodeTrace(
            task=result.task,
            instruction=result.instruction,
            seed=result.seed,
            mode=result.mode,
            success=result.success,
            num_steps=result.steps,
            seconds=result.seconds,
            frames=np.stack(self._frames) if self._frames else self._no_frames(),
            frame_steps=np.asarray(self._frame_steps, np.int64),
            decisions=tuple(self._decisions),
            cameras=tuple(camera.name for camera in self._embodiment.cameras),
            action_names=self._embodiment.action.names,
            scored_by=self._scored_by,
        )

    def _no_frames(self) -> Pixels:
        cameras = self._embodiment.cameras
        return np.zeros((0, len(cameras), cameras[0].height, cameras[0].width, 3), np.uint8)
