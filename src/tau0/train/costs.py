"""How many floating-point operations one sample costs in training: every matrix product of SPEC.md sections 2 to 4, counted.

A product of (rows x in) with (in x out) takes `2 rows in out` operations forward, as many again for its weights' gradient, and as many
again for its input's, where the input came from something that learns. Attention of q queries over k keys takes `4 q k width` forward and
twice that backward. What is computed a second time to save memory does not count: utilisation is about useful work.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tau0.model.config import ExpertConfig, TrunkConfig, WorldModelConfig


@dataclass(frozen=True, kw_only=True)
class SampleShape:
    """What one sample looks like, in numbers of things.

    Attributes:
        views: Cameras.
        height: Rows of a view's latent.
        width: Columns of a view's latent.
        memory: Memory frames of the simulator.
        future: Future latent frames.
        horizon: Action steps `ha`.
        draws: Noise draws of the actions for each trunk pass.
    """

    views: int
    height: int
    width: int
    memory: int
    future: int
    horizon: int
    draws: int = 1

    def tokens(self, trunk: TrunkConfig, frames: int) -> int:
        """Video tokens of so many latent frames."""
        return frames * self.height * self.width * self.views // prod(trunk.patch)

    @property
    def policy_frames(self) -> int:
        """The current frame and the future."""
        return 1 + self.future

    @property
    def simulator_frames(self) -> int:
        """Memory as well."""
        return self.memory + 1 + self.future


@dataclass(frozen=True, kw_only=True)
class Work:
    """Floating-point operations of one sample, forward and backward."""

    forward: int = 0
    backward: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(forward=self.forward + other.forward, backward=self.backward + other.backward)

    def __mul__(self, times: int) -> Work:
        return Work(forward=self.forward * times, backward=self.backward * times)

    @property
    def total(self) -> int:
        """Forward and backward."""
        return self.forward + self.backward


def policy_work(model: WorldModelConfig, shape: SampleShape) -> Work:
    """One training sample of the policy: a trunk pass, and `draws` passes of the action expert that share its keys and values."""
    work = trunk_work(model.trunk, shape, shape.policy_frames)
    if model.action is None:
        return work
    context = shape.tokens(model.trunk, shape.policy_frames)
    return work + expert_work(model.action, model.trunk, tokens=shape.horizon + 1, levels=2, context=context, draws=shape.draws)


def simulator_work(model: WorldModelConfig, shape: SampleShape, *, progress_shapes_trunk: bool) -> Work:
    """One training sample of the simulator: conditioning, a trunk pass with memory, and the progress expert."""
    work = trunk_work(model.trunk, shape, shape.simulator_frames)
    if model.conditioning is not None:
        step, width, d = model.conditioning.width // model.conditioning.group, model.conditioning.width, model.trunk.width
        work += _linear(shape.horizon, model.conditioning.action_dim, step, reaches_input=False) + _linear(shape.horizon, step, step)
        for out in (d, 6 * d):
            work += _linear(shape.simulator_frames, width, width) + _linear(shape.simulator_frames, width, out)
    if model.progress is not None:
        context = shape.tokens(model.trunk, shape.simulator_frames)
        work += expert_work(
            model.progress, model.trunk, tokens=shape.horizon, levels=1, context=context, reaches_context=progress_shapes_trunk
        )
    return work


def trunk_work(trunk: TrunkConfig, shape: SampleShape, frames: int) -> Work:
    """One pass over so many latent frames."""
    s, d, patch = shape.tokens(trunk, frames), trunk.width, prod(trunk.patch) * trunk.latent_channels
    work = _linear(s, patch, d, reaches_input=False) + _time(frames // trunk.patch[0], trunk.frequency_width, d)
    work += _linear(trunk.text_length, trunk.text_width, d, reaches_input=False) + _linear(trunk.text_length, d, d)
    work += block_work(d, trunk.ffn_width, tokens=s, context=trunk.text_length, context_width=d) * trunk.num_layers
    return work + _linear(s, d, patch)


def expert_work(
    expert: ExpertConfig, trunk: TrunkConfig, *, tokens: int, levels: int, context: int, draws: int = 1, reaches_context: bool = True
) -> Work:
    """One sample of an expert, with `levels` different timesteps in its sequence."""
    d = expert.width
    work = _linear(draws * tokens, expert.dim, d, reaches_input=False) + _time(draws * levels, trunk.frequency_width, d)
    work += block_work(
        d, expert.ffn_width, tokens=tokens, context=context, context_width=trunk.width, draws=draws, reaches_context=reaches_context
    ) * trunk.num_layers  # fmt: skip
    return work + _linear(draws * tokens, d, expert.dim)


def block_work(d: int, ffn: int, *, tokens: int, context: int, context_width: int, draws: int = 1, reaches_context: bool = True) -> Work:
    """One block on `draws` sequences that share one context."""
    rows = draws * tokens
    work = _linear(rows, d, 3 * d) + _linear(rows, d, d) + _attention(tokens, tokens, d) * draws
    work += _linear(rows, d, d) * 2 + _linear(context, context_width, d, reaches_input=reaches_context) * 2 + _attention(rows, context, d)
    return work + _linear(rows, d, ffn) + _linear(rows, ffn, d)


def _time(levels: int, frequency_width: int, d: int) -> Work:
    return _linear(levels, frequency_width, d, reaches_input=False) + _linear(levels, d, d) + _linear(levels, d, 6 * d)


def _linear(rows: int, width_in: int, width_out: int, *, reaches_input: bool = True) -> Work:
    product = 2 * rows * width_in * width_out
    return Work(forward=product, backward=product * (1 + reaches_input))


def _attention(queries: int, keys: int, width: int) -> Work:
    products = 4 * queries * keys * width
    return Work(forward=products, backward=2 * products)
