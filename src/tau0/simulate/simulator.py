"""The simulator: an encoded observation and chunks to imagined futures with progress (SPEC.md section 4). The only place that does this."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.flow import Euler, Solver, UniPC, euler_schedule, unipc_schedule
from tau0.model.config import SamplingConfig
from tau0.model.text_context import TextContext
from tau0.model.trunk import Words
from tau0.model.world_model import WorldModel
from tau0.tensors import Conditioning, Futures

PICTURE_STEPS = 25


class Simulator(Protocol):
    """Anything that imagines where chunks lead."""

    def imagine(
        self, conditioning: Conditioning, actions: Float[Tensor, "n ha da"], generator: torch.Generator, num_steps: int | None = None
    ) -> Futures:
        """One future per chunk. All share their noise, so that they differ by their actions alone.

        Args:
            conditioning: The observation and its past.
            actions: Normalised, within the robot's limits.
            generator: Source of all noise, on the CPU; what is drawn does not depend on the number of chunks.
            num_steps: Solver steps; None for the checkpoint's own number.
        """
        ...


class ActionConditionedSimulator:
    """A checkpoint's simulator. Policy and simulator of one checkpoint share one codec, so actions pass between them as they are."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = checkpoint.simulator
        self._text = TextContext(checkpoint.simulator)
        self._sampling = checkpoint.config.sampling

    def imagine(
        self, conditioning: Conditioning, actions: Float[Tensor, "n ha da"], generator: torch.Generator, num_steps: int | None = None
    ) -> Futures:
        """See `Simulator.imagine`. Few Euler steps at shift 1: good enough to rank candidates."""
        return self._from_shared_noise(conditioning, actions, generator, ranking_solvers(self._sampling, num_steps))

    def render(
        self, conditioning: Conditioning, actions: Float[Tensor, "n ha da"], generator: torch.Generator, num_steps: int = PICTURE_STEPS
    ) -> Futures:
        """The same with many UniPC steps, video at its training shift: for pictures."""
        return self._from_shared_noise(conditioning, actions, generator, picture_solvers(self._sampling, num_steps))

    @torch.inference_mode()
    def _from_shared_noise(
        self, conditioning: Conditioning, actions: Tensor, generator: torch.Generator, solvers: tuple[Solver, Solver]
    ) -> Futures:
        n, horizon = actions.shape[:2]
        clean = torch.cat([conditioning.memory, conditioning.current], dim=2)
        _, z, _, h, w = clean.shape
        video = torch.randn(1, z, self._sampling.num_future, h, w, generator=generator).to(clean)
        progress = torch.randn(1, horizon, generator=generator).to(clean)
        return denoise_futures(
            self._model, clean.expand(n, -1, -1, -1, -1), self._text.of(conditioning.text), actions,
            video.expand(n, -1, -1, -1, -1), progress.expand(n, -1), solvers,
        )  # fmt: skip


def ranking_solvers(sampling: SamplingConfig, num_steps: int | None = None) -> tuple[Solver, Solver]:
    """Of video and of progress: few Euler steps at shift 1, the checkpoint's number unless given."""
    schedule = euler_schedule(num_steps or sampling.rank_steps)
    return Euler(schedule), Euler(schedule)


def picture_solvers(sampling: SamplingConfig, num_steps: int = PICTURE_STEPS) -> tuple[Solver, Solver]:
    """Of video, at its training shift, and of progress: many UniPC steps."""
    return UniPC(unipc_schedule(num_steps, sampling.video_shift)), UniPC(unipc_schedule(num_steps))


@torch.inference_mode()
def denoise_futures(
    model: WorldModel,
    clean: Float[Tensor, "n z m1 h vw"],
    text: Words,
    actions: Float[Tensor, "n ha da"],
    video: Float[Tensor, "n z f h vw"],
    progress: Float[Tensor, "n ha"],
    solvers: tuple[Solver, Solver],
    column_mask: Bool[Tensor, "n vw"] | None = None,
) -> Futures:
    """Video and progress from noise, in lock-step: for n chunks of one observation, or n observations with a chunk each.

    Args:
        model: With action conditioning and progress expert.
        clean: Memory frames and the current one.
        text: Token features, or the model's `text_context` of them.
        actions: Normalised chunks.
        video: Noise that becomes the future frames.
        progress: Noise that becomes the progress curve.
        solvers: Of video and of progress, with as many steps each.
        column_mask: Which columns of the canvas hold a camera; None for all.
    """
    n, num_clean = clean.shape[0], clean.shape[2]
    video_solver, progress_solver = solvers
    partial = video
    for i, timestep in enumerate(video_solver.schedule.timesteps.tolist()):
        partial = video
        levels = torch.cat([clean.new_zeros(n, num_clean), clean.new_full((n, video.shape[2]), timestep)], dim=1)
        progress_level = clean.new_full((n,), float(progress_solver.schedule.timesteps[i]))
        latents = torch.cat([clean, video], dim=2)
        features, progress_velocity = model.denoise_future(latents, levels, text, actions, progress, progress_level, column_mask)
        video = video_solver.step(video, features.velocity[:, :, num_clean:], i)
        progress = progress_solver.step(progress, progress_velocity, i)
    return Futures(
        latents=video,
        progress=progress.clamp(-1, 1),
        partial=partial,
        partial_sigma=float(video_solver.schedule.sigmas[-2]),
    )
