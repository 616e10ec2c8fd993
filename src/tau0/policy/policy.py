"""The policy: an encoded observation to candidate chunks (SPEC.md section 3). The only place that does this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.flow import TIMESTEP_SCALE, UniPC, solve, unipc_schedule
from tau0.model.experts import Levels
from tau0.model.text_context import TextContext
from tau0.policy.inpainting import STRONGEST, Inpainting, Velocity, differentiable, inpaint
from tau0.tensors import Conditioning, Proposals, VideoFeatures

ActionVelocity = Callable[[Float[Tensor, "n ha da"], float], Float[Tensor, "n ha da"]]
"""Noisy chunks and their level sigma to their velocities."""


class Policy(Protocol):
    """Anything that proposes chunks and can say how they would be denoised again."""

    def propose(
        self,
        conditioning: Conditioning,
        num_candidates: int,
        generator: torch.Generator,
        future: Float[Tensor, "1 z f h vw"] | None = None,
        future_sigma: float = 1.0,
        num_steps: int | None = None,
    ) -> Proposals:
        """Candidate chunks, which begin with the conditioning's prefix if it has one. Candidate i is the same however many are asked for.

        Args:
            conditioning: The observation.
            num_candidates: How many chunks, at least 1.
            generator: Source of all noise, on the CPU.
            future: What is known of the future frames, at noise level `future_sigma`; None for nothing.
            future_sigma: In (0, 1].
            num_steps: Solver steps; None for the checkpoint's own number.
        """
        ...

    def velocity(self, proposals: Proposals) -> ActionVelocity:
        """The action expert on the trunk pass that the proposals came from."""
        ...


class VideoActionPolicy:
    """A checkpoint's policy. By default future frames are pure noise and the trunk runs once for all candidates and steps."""

    def __init__(self, checkpoint: Checkpoint, noise_scale: float = 1.0, guidance: float = STRONGEST) -> None:
        """A policy.

        Args:
            checkpoint: Its networks and numbers of steps.
            noise_scale: Deviation of the noise that every candidate but the first starts from, above 0. More than 1 makes candidates more
                diverse: a selector gains nothing from candidates that coincide. The first one stays what a single query would draw.
            guidance: Strongest pull toward what the robot is committed to (`tau0.policy.inpainting`), at least 0. Less follows newer
                observations better, more moves more smoothly.

        Raises:
            ValueError: The scale is not above 0, or the guidance below it.
        """
        if not noise_scale > 0:
            raise ValueError(f"noise_scale must be above 0, got {noise_scale}")
        if not guidance >= 0:
            raise ValueError(f"guidance must be at least 0, got {guidance}")
        self._noise_scale, self._guidance = noise_scale, guidance
        embodiment = checkpoint.config.embodiment
        self._model = checkpoint.model
        self._text = TextContext(checkpoint.model)
        self._levels: dict[float, Levels] = {}
        self._sampling = checkpoint.config.sampling
        self._chunk_shape = (embodiment.action_horizon, embodiment.action.dim)
        self._absent = list(checkpoint.config.absent)

    @torch.inference_mode()
    def propose(
        self,
        conditioning: Conditioning,
        num_candidates: int,
        generator: torch.Generator,
        future: Float[Tensor, "1 z f h vw"] | None = None,
        future_sigma: float = 1.0,
        num_steps: int | None = None,
    ) -> Proposals:
        """See `Policy.propose`. One trunk pass, then UniPC (shift 1) of the action expert over all candidates together.

        Where the conditioning has a prefix, all candidates begin with it; each step then needs a backward pass through the expert as well.
        """
        future = self._future_noise(conditioning, generator) if future is None else future
        context = self._model.action_context(self._trunk(conditioning, future, TIMESTEP_SCALE * future_sigma))
        noise = self._chunk_noise(conditioning, num_candidates, generator)
        solver = UniPC(unipc_schedule(num_steps or self._sampling.action_steps))
        if conditioning.prefix is None:
            actions = solve(solver, noise, lambda noisy, timestep: self._velocity(context, conditioning.state, noisy, float(timestep)))
        else:
            guidance = Inpainting(conditioning.prefix, self._chunk_shape[0], self._guidance)
            actions = self._blanked(inpaint(solver, noise, self._differentiable(context, conditioning.state), guidance))
        return Proposals(actions=actions, keys_values=context, state=conditioning.state)

    @torch.inference_mode()
    def propose_joint(
        self, conditioning: Conditioning, num_candidates: int, generator: torch.Generator, num_steps: int | None = None
    ) -> Proposals:
        """Chunks and the future that the policy itself imagines, denoised in lock-step: the trunk runs at every step.

        Video sees neither actions nor state, so there is one future for all candidates, `video` of the result. Its keys and values
        are those of the last trunk pass. Noise is drawn as in `propose`.
        """
        video = self._future_noise(conditioning, generator)
        actions = self._chunk_noise(conditioning, num_candidates, generator)
        num_steps = num_steps or self._sampling.video_steps
        video_solver = UniPC(unipc_schedule(num_steps, self._sampling.video_shift))
        action_solver = UniPC(unipc_schedule(num_steps))
        guidance = None if conditioning.prefix is None else Inpainting(conditioning.prefix, self._chunk_shape[0], self._guidance)
        context = ()
        for i, timestep in enumerate(action_solver.schedule.timesteps):
            features = self._trunk(conditioning, video, float(video_solver.schedule.timesteps[i]))
            context = self._model.action_context(features)
            if guidance is None:
                velocity = self._velocity(context, conditioning.state, actions, float(timestep))
            else:
                plain, sigma = self._differentiable(context, conditioning.state), float(action_solver.schedule.sigmas[i])
                velocity = guidance.velocity(plain, actions, float(timestep), sigma)
            actions = action_solver.step(actions, velocity, i)
            video = video_solver.step(video, features.velocity[:, :, conditioning.current.shape[2] :], i)
        actions = actions if guidance is None else self._blanked(guidance.frozen(actions))
        return Proposals(actions=actions, keys_values=context, state=conditioning.state, video=video)

    def velocity(self, proposals: Proposals) -> ActionVelocity:
        """See `Policy.velocity`."""

        @torch.inference_mode()
        def of(noisy: Tensor, sigma: float) -> Tensor:
            return self._velocity(proposals.keys_values, proposals.state, noisy, TIMESTEP_SCALE * sigma)

        return of

    def _trunk(self, conditioning: Conditioning, future: Tensor, timestep: float) -> VideoFeatures:
        """One trunk pass over [current, future]; the current frame is clean."""
        current = conditioning.current
        levels = torch.cat([current.new_zeros(1, current.shape[2]), current.new_full((1, future.shape[2]), timestep)], dim=1)
        return self._model.video_features(torch.cat([current, future], dim=2), levels, self._text.of(conditioning.text))

    def _differentiable(self, context: tuple[tuple[Tensor, Tensor], ...], state: Tensor) -> Velocity:
        """The velocity of chunks that a gradient passes through, although the query is one of inference."""
        usable = differentiable(context)
        with torch.inference_mode(False):
            state = state.clone()
        return lambda noisy, timestep: self._velocity(usable, state, noisy, timestep)

    def _velocity(self, context: tuple[tuple[Tensor, Tensor], ...], state: Tensor, noisy: Tensor, timestep: float) -> Tensor:
        """Of n chunks that share one context, one state and one level, of which a query visits few."""
        if timestep not in self._levels:
            with torch.inference_mode(False), torch.no_grad():
                level = torch.full((1,), timestep, device=noisy.device, dtype=noisy.dtype)
                self._levels[timestep] = self._model.action_levels(level)
        velocity = self._model.denoise_actions(context, self._blanked(noisy), self._levels[timestep], state.expand(len(noisy), -1))
        return self._blanked(velocity)

    def _future_noise(self, conditioning: Conditioning, generator: torch.Generator) -> Float[Tensor, "1 z f h vw"]:
        b, z, _, h, w = conditioning.current.shape
        return torch.randn(b, z, self._sampling.num_future, h, w, generator=generator).to(conditioning.current)

    def _chunk_noise(self, conditioning: Conditioning, n: int, generator: torch.Generator) -> Float[Tensor, "n ha da"]:
        """Drawn chunk by chunk, so that the first ones do not depend on how many follow."""
        noise = torch.stack([torch.randn(self._chunk_shape, generator=generator) for _ in range(n)])
        return self._blanked(torch.cat([noise[:1], self._noise_scale * noise[1:]]).to(conditioning.current))

    def _blanked(self, chunks: Float[Tensor, "n ha da"]) -> Float[Tensor, "n ha da"]:
        """With zeros in the place of what the robot does not have, as in training."""
        return chunks.index_fill(-1, torch.tensor(self._absent, device=chunks.device), 0.0) if self._absent else chunks


class JointPolicy(VideoActionPolicy):
    """The same checkpoint in its joint mode: slower, but what the policy itself imagines can be seen.

    Where a future is given (a revision) there is nothing to imagine, and the trunk runs once.
    """

    def propose(
        self,
        conditioning: Conditioning,
        num_candidates: int,
        generator: torch.Generator,
        future: Float[Tensor, "1 z f h vw"] | None = None,
        future_sigma: float = 1.0,
        num_steps: int | None = None,
    ) -> Proposals:
        """See `Policy.propose` and `VideoActionPolicy.propose_joint`."""
        if future is None:
            return self.propose_joint(conditioning, num_candidates, generator, num_steps)
        return super().propose(conditioning, num_candidates, generator, future, future_sigma, num_steps)
