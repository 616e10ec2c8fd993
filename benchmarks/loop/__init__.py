"""A model with random weights, what it is asked, and the works that `benchmarks/gpu.py` times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tau0.flow import TIMESTEP_SCALE, Euler, UniPC, euler_schedule, solve, unipc_schedule
from tau0.model.attention import KeysValues
from tau0.model.blocks import Block
from tau0.model.config import SamplingConfig, WorldModelConfig
from tau0.model.world_model import WorldModel
from tau0.plan.score import redenoising_consistency
from tau0.simulate.simulator import denoise_futures
from tau0.tensors import Batch, Futures
from tau0.train.config import TrainConfig
from tau0.train.costs import SampleShape
from tau0.train.draws import Draws
from tau0.train.objective import policy_losses, simulator_losses

RCS_SIGMA, REVISION_STEP = 0.6, 4
SAMPLING = SamplingConfig()
TRAIN = TrainConfig(action_draws=1, progress_shapes_trunk=False)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Sizes of what the model looks at.

    Attributes:
        views: Cameras.
        height: Rows of a view's latent.
        width: Columns of a view's latent.
    """

    views: int
    height: int
    width: int

    def shape(self, model: WorldModelConfig, draws: int = 1) -> SampleShape:
        """For counting operations; `draws` passes of the action expert share a trunk pass."""
        return SampleShape(
            views=self.views, height=self.height, width=self.width, memory=SAMPLING.num_memory, future=SAMPLING.num_future,
            horizon=horizon(model), draws=draws,
        )  # fmt: skip


def horizon(model: WorldModelConfig) -> int:
    """Action steps of a chunk."""
    assert model.conditioning is not None
    return model.conditioning.group * SAMPLING.num_future + 1


def build(config: WorldModelConfig, device: torch.device) -> WorldModel:
    """Random weights, made on the device. Heads too, so that nothing is multiplied by zero."""
    with device:
        model = WorldModel(config)
    for name, parameter in model.named_parameters():
        if name.endswith("head.proj.weight"):
            nn.init.normal_(parameter, std=0.02)
    return model


def halve(model: WorldModel) -> WorldModel:
    """The weights of matrix products in bfloat16, for inference; norms and modulation stay in float32."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            module.bfloat16()
    return model.eval().requires_grad_(False)


def prepare(model: WorldModel, *, compiled: bool, recompute: bool) -> None:
    """Compiles every block, and recomputes its activations in the backward pass, as training over many processes does."""
    for module in model.modules():
        if isinstance(module, Block):
            forward: Callable[..., Tensor] = torch.compile(module.forward) if compiled else module.forward
            module.forward = partial(checkpoint, forward, use_reentrant=False) if recompute else forward


class Queries:
    """One observation, random, and everything that a robot's query asks about it. No work copies anything from the host."""

    def __init__(self, model: WorldModel, scene: Scene, device: torch.device) -> None:
        config = model.config
        assert config.action is not None
        assert config.conditioning is not None
        self._model, self._scene = model, scene
        trunk, self._steps = config.trunk, horizon(config)
        self._held = config.conditioning.action_dim - config.action.dim
        canvas = (trunk.latent_channels, scene.height, scene.views * scene.width)
        random = partial(torch.randn, device=device)
        self.memory, self.current, self.future = (
            random(1, canvas[0], frames, *canvas[1:]) for frames in (SAMPLING.num_memory, 1, SAMPLING.num_future)
        )
        self.partial, self.video = torch.clone(self.future), torch.clone(self.future)
        self.state, self.progress = random(1, config.action.dim), random(1, self._steps)
        self.noise = random(1, self._steps, config.action.dim)
        self.words = model.text_context(random(1, trunk.text_length, trunk.text_width))
        self._levels = {
            level: model.action_levels(torch.full((1,), level, device=device))
            for level in [*unipc_schedule(SAMPLING.action_steps).timesteps.tolist(), TIMESTEP_SCALE * RCS_SIGMA]
        }
        self._chunk_noise = {n: random(n, self._steps, config.action.dim) for n in (1, 4, 16)}

    def propose(self, n: int, future: Tensor, sigma: float = 1.0) -> tuple[Tensor, Tensor]:
        """n chunks and, of several, their scores: one trunk pass, keys and values made once, five steps, one score."""
        levels = torch.cat([self.current.new_zeros(1, 1), self.current.new_full((1, SAMPLING.num_future), TIMESTEP_SCALE * sigma)], dim=1)
        features = self._model.video_features(torch.cat([self.current, future], dim=2), levels, self.words)
        context = self._model.action_context(features)
        solver = UniPC(unipc_schedule(SAMPLING.action_steps))
        actions = solve(solver, self._chunk_noise[n], lambda noisy, timestep: self._velocity(context, noisy, float(timestep)))
        if n == 1:
            return actions, actions.new_zeros(1)
        scored = redenoising_consistency(
            lambda noisy, _: self._velocity(context, noisy, TIMESTEP_SCALE * RCS_SIGMA), actions, self.noise, [RCS_SIGMA]
        )
        return actions, scored

    def simulate(self, actions: Tensor) -> Futures:
        """A future of every chunk, in the steps that rank; what the policy does not command is held at zero."""
        n = len(actions)
        told = torch.cat([actions, actions.new_zeros(n, self._steps, self._held)], dim=-1)
        clean = torch.cat([self.memory, self.current], dim=2).expand(n, -1, -1, -1, -1)
        schedule = euler_schedule(SAMPLING.rank_steps)
        return denoise_futures(
            self._model, clean, self.words, told, self.video.expand(n, -1, -1, -1, -1), self.progress.expand(n, -1),
            (Euler(schedule), Euler(schedule)),
        )  # fmt: skip

    def propose_and_simulate(self, n: int) -> Futures:
        """The first round."""
        return self.simulate(self.propose(n, self.future)[0])

    def revise_and_simulate(self, n: int) -> Futures:
        """The second, from what `partial` holds."""
        return self.simulate(self.propose(n, self.partial, SAMPLING.revision_sigma)[0])

    def _velocity(self, context: tuple[KeysValues, ...], noisy: Tensor, timestep: float) -> Tensor:
        return self._model.denoise_actions(context, noisy, self._levels[timestep], self.state.expand(len(noisy), -1))


def random_batch(config: WorldModelConfig, scene: Scene, size: int, device: torch.device) -> Batch:
    """Training samples with nothing masked; the actions have as many numbers as the model at hand takes."""
    steps = 1 + 2 * (config.conditioning.group if config.conditioning else 16)
    dim = config.action.dim if config.action else 0
    told = config.conditioning.action_dim if config.conditioning else dim
    frames, random = SAMPLING.num_memory + 1 + SAMPLING.num_future, partial(torch.randn, device=device)
    yes = partial(torch.ones, device=device, dtype=torch.bool)
    return Batch(
        latents=random(size, scene.views, config.trunk.latent_channels, frames, scene.height, scene.width),
        text=random(size, config.trunk.text_length, config.trunk.text_width),
        state=random(size, dim), target_actions=random(size, steps, dim), executed_actions=random(size, steps, told),
        progress=random(size, steps).clamp(-1, 1), view_mask=yes(size, scene.views), video_mask=yes(size, SAMPLING.num_future),
        state_mask=yes(size, dim), action_mask=yes(size, steps, dim), executed_mask=yes(size, told), progress_mask=yes(size, steps),
        weights=torch.ones(size, 4, device=device),
    )  # fmt: skip


class Training:
    """One step of the policy, where the model has an action expert, or else of the simulator: forward, backward, clip, AdamW."""

    def __init__(self, model: WorldModel, scene: Scene, batch: int, device: torch.device) -> None:
        self._model = model.train()
        self._losses = policy_losses if model.action_expert is not None else simulator_losses
        self._batch = random_batch(model.config, scene, batch, device)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=device.type == "cuda")
        self._draws = Draws.of((0,), range(batch))
        self._device, self._settings = device, replace(TRAIN)

    def step(self) -> None:
        """Matrix products in bfloat16 on a GPU; weights, gradients and optimizer in float32."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            losses = self._losses(self._model, self._batch, self._settings, SAMPLING, self._draws)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
