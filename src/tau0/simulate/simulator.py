"""The simulator: an encoded observation and chunks to imagined futures with progress (SPEC.md section 4). The only place that does this."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.flow import Euler, Solver, UniPC, euler_schedule, unipc_schedule
from tau0.tensors import Conditioning, Futures

PICTURE_STEPS = 25


class Simulator(Protocol):
    """Anything that imagines where chunks lead."""

    def imagine(self, conditioning: Conditioning, actions: Float[Tensor, "n ha da"], generator: torch.Generator) -> Futures:
        """One future per chunk. All share their noise, so that they differ by their actions alone.

        Args:
            conditioning: The observation and its past.
            actions: Normalised, within the robot's limits.
            generator: Source of all noise, on the CPU; what is drawn does not depend on the number of chunks.
        """
        ...


class ActionConditionedSimulator:
    """A checkpoint's simulator. Policy and simulator of one checkpoint share one codec, so actions pass between them as they are."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = checkpoint.simulator
        self._sampling = checkpoint.config.sampling

    def imagine(self, conditioning: Conditioning, actions: Float[Tensor, "n ha da"], generator: torch.Generator) -> Futures:
        """See `Simulator.imagine`. Few Euler steps at shift 1: good enough to rank candidates."""
        schedule = euler_schedule(self._sampling.rank_steps)
        return self._denoise(conditioning, actions, generator, Euler(schedule), Euler(schedule))

    def render(
        self, conditioning: Conditioning, actions: Float[Tensor, "n ha da"], generator: torch.Generator, num_steps: int = PICTURE_STEPS
    ) -> Futures:
        """The same with many UniPC steps, video at its training shift: for pictures."""
        video_solver = UniPC(unipc_schedule(num_steps, self._sampling.video_shift))
        return self._denoise(conditioning, actions, generator, video_solver, UniPC(unipc_schedule(num_steps)))

    @torch.inference_mode()
    def _denoise(
        self, conditioning: Conditioning, actions: Tensor, generator: torch.Generator, video_solver: Solver, progress_solver: Solver
    ) -> Futures:
        """Video and progress from shared noise, in lock-step."""
        n, horizon = actions.shape[:2]
        clean = torch.cat([conditioning.memory, conditioning.current], dim=2)
        _, z, num_clean, h, w = clean.shape
        num_future = self._sampling.num_future
        video = partial = torch.randn(1, z, num_future, h, w, generator=generator).to(clean).expand(n, -1, -1, -1, -1)
        progress = torch.randn(1, horizon, generator=generator).to(clean).expand(n, -1)
        clean, text = clean.expand(n, -1, -1, -1, -1), conditioning.text.expand(n, -1, -1)
        for i, timestep in enumerate(video_solver.schedule.timesteps.tolist()):
            partial = video
            levels = clean.new_tensor([0.0] * num_clean + [timestep] * num_future).expand(n, -1)
            progress_level = progress_solver.schedule.timesteps[i].to(clean).expand(n)
            latents = torch.cat([clean, video], dim=2)
            features, progress_velocity = self._model.denoise_future(latents, levels, text, actions, progress, progress_level)
            video = video_solver.step(video, features.velocity[:, :, num_clean:], i)
            progress = progress_solver.step(progress, progress_velocity, i)
        return Futures(
            latents=video,
            progress=progress.clamp(-1, 1),
            partial=partial,
            partial_sigma=float(video_solver.schedule.sigmas[-2]),
        )
