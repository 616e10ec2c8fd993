"""What is masked teaches nothing, exactly, in random batches in which samples of all kinds stand side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from fake_source import HORIZON, NUM_MEMORY, VIEWS, fake_batch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tau0.data.description import SIGNALS, Signal
from tau0.data.index import Stream
from tau0.model.config import SamplingConfig, WorldModelConfig
from tau0.model.world_model import WorldModel
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.masks import TERM_SIGNALS, count_supervised, supervised
from tau0.train.objective import SampleErrors, stream_errors, weighted_sum
from tiny import DIM, MODEL, NUM_FUTURE

CONFIG, SAMPLING = TrainConfig(action_draws=2, pure_noise_share=0.4), SamplingConfig(num_memory=NUM_MEMORY)
STREAMS: tuple[Stream, Stream] = ("policy", "simulator")
ROUNDING = 1e-4
"""Of a gradient's largest number: sums over another number of samples round otherwise."""

Gradients = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one sample of a batch may supervise.

    Attributes:
        kind: Teleoperation has everything; UMI counts less; egocentric has video alone; rollouts have no action to imitate.
        dim: Numbers that the robot has, the first ones.
        steps: Steps left of the episode.
        views: Which cameras exist.
        labelled: Whether progress is labelled, step by step.
    """

    kind: str
    dim: int
    steps: int
    views: tuple[bool, ...]
    labelled: tuple[bool, ...]


SAMPLES = st.builds(
    Sample,
    kind=st.sampled_from(["teleoperation", "umi", "egocentric", "rollout", "nothing"]),
    dim=st.integers(1, DIM),
    steps=st.integers(1, HORIZON),
    views=st.sampled_from([(True, True), (True, False), (False, True)]),
    labelled=st.sampled_from([(True,) * HORIZON, (False,) * HORIZON, (True, False, True) * 3]),
)
BATCHES = st.lists(SAMPLES, min_size=2, max_size=4)
quickly = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def batch_of(samples: list[Sample], seed: int = 0) -> Batch:
    """Random numbers everywhere, also behind the masks."""
    size = len(samples)
    dims = torch.tensor([[k < s.dim and s.kind != "egocentric" for k in range(DIM)] for s in samples])
    steps = torch.tensor([[k < s.steps for k in range(HORIZON)] for s in samples])
    may = {signal: torch.tensor([s.kind in kinds for s in samples]) for signal, kinds in _MAY.items()}
    stride = (HORIZON - 1) // NUM_FUTURE
    weight = torch.tensor([[1.0, 0.25, 0.5, 1.0] if s.kind == "umi" else [1.0] * 4 for s in samples])
    return replace(
        fake_batch(size, seed),
        view_mask=torch.tensor([s.views for s in samples]),
        video_mask=steps[:, stride::stride] & may["video"][:, None],
        state_mask=dims,
        action_mask=steps[:, :, None] & dims[:, None, :] & may["action"][:, None, None],
        executed_mask=dims & may["dynamics"][:, None],
        progress_mask=torch.tensor([s.labelled for s in samples]) & steps & may["progress"][:, None],
        weights=weight,
    )


_MAY = {
    "video": ("teleoperation", "umi", "egocentric", "rollout"),
    "action": ("teleoperation", "umi"),
    "dynamics": ("teleoperation", "umi", "rollout"),
    "progress": ("teleoperation", "rollout"),
}


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """One layer, every weight random."""
    return random_model(MODEL)


def random_model(config: WorldModelConfig) -> WorldModel:
    generator = torch.Generator().manual_seed(1)
    model = WorldModel(replace(config, trunk=replace(config.trunk, num_layers=1)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def errors_of(model: WorldModel, stream: Stream, batch: Batch, places: list[int] | None = None) -> dict[str, SampleErrors]:
    """Errors of the samples that stand at these places of the whole batch, all unless given."""
    draws = Draws.of((3,), range(len(batch)) if places is None else places)
    return stream_errors(stream, model, batch, CONFIG, SAMPLING, draws)


def gradients(model: WorldModel, loss: Tensor) -> Gradients:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def learned(model: WorldModel, stream: Stream, batch: Batch) -> tuple[Tensor, Gradients]:
    loss = weighted_sum(errors_of(model, stream, batch), CONFIG)
    return loss.detach(), gradients(model, loss)


def with_garbage(batch: Batch, garbage: float) -> Batch:
    """The batch with something else wherever a mask is false."""
    frames = torch.cat([torch.ones(len(batch), NUM_MEMORY + 1, dtype=torch.bool), batch.video_mask], dim=1)
    return replace(
        batch,
        latents=torch.where((batch.view_mask[:, :, None] & frames[:, None, :])[:, :, None, :, None, None], batch.latents, garbage),
        state=torch.where(batch.state_mask, batch.state, garbage),
        target_actions=torch.where(batch.action_mask, batch.target_actions, garbage),
        executed_actions=torch.where(batch.executed_mask[:, None], batch.executed_actions, garbage),
        progress=torch.where(batch.progress_mask, batch.progress, garbage),
    )


@pytest.mark.parametrize("stream", STREAMS)
@quickly
@given(samples=BATCHES, garbage=st.sampled_from([1e6, -7.0, float("nan"), float("inf")]))
def test_contents_behind_a_mask_change_no_loss_and_no_gradient(model: WorldModel, stream: Stream, samples: list[Sample], garbage: float):
    batch = batch_of(samples)
    (loss, before), (again, after) = learned(model, stream, batch), learned(model, stream, with_garbage(batch, garbage))
    assert loss.isfinite()
    assert torch.equal(loss, again)
    assert before.keys() == after.keys()
    for name, gradient in before.items():
        assert gradient.isfinite().all(), name
        assert torch.equal(gradient, after[name]), name


@pytest.mark.parametrize("stream", STREAMS)
@quickly
@given(samples=BATCHES, at=st.integers(0, 3))
def test_sample_that_supervises_nothing_might_as_well_not_be_there(model: WorldModel, stream: Stream, samples: list[Sample], at: int):
    at %= len(samples)
    samples = [replace(s, kind="nothing") if i == at else s for i, s in enumerate(samples)]
    batch, others = batch_of(samples), [i for i in range(len(samples)) if i != at]
    whole, rest = errors_of(model, stream, batch), errors_of(model, stream, batch[torch.tensor(others)], others)
    for term, errors in whole.items():
        assert errors.total[at] == errors.kept[at] == 0
        assert torch.equal(errors.kept[others], rest[term].kept)
        torch.testing.assert_close(errors.total[others], rest[term].total, rtol=ROUNDING, atol=1e-5)
    assert_close(gradients(model, weighted_sum(whole, CONFIG)), gradients(model, weighted_sum(rest, CONFIG)))


@pytest.mark.parametrize("stream", STREAMS)
@quickly
@given(samples=BATCHES, first=st.integers(1, 3))
def test_loss_does_not_depend_on_how_samples_are_spread(model: WorldModel, stream: Stream, samples: list[Sample], first: int):
    batch = batch_of(samples)
    kept = {term: float(count) for term, count in count_supervised(stream, batch).items()}
    parts = [p for p in (list(range(len(samples)))[:first], list(range(len(samples)))[first:]) if p]
    whole = weighted_sum(errors_of(model, stream, batch), CONFIG)
    spread = torch.stack([weighted_sum(errors_of(model, stream, batch[torch.tensor(p)], p), CONFIG, kept) for p in parts]).sum()
    torch.testing.assert_close(spread, whole, rtol=ROUNDING, atol=1e-6)
    assert_close(gradients(model, whole), gradients(model, spread))


@pytest.mark.parametrize("stream", STREAMS)
@quickly
@given(samples=BATCHES)
def test_what_only_a_masked_part_could_touch_gets_exactly_nothing(model: WorldModel, stream: Stream, samples: list[Sample]):
    batch = batch_of(samples)
    loss, grads = learned(model, stream, batch)
    kept = count_supervised(stream, batch)
    if not any(kept.values()):
        assert loss == 0
        assert is_zero(grads, "")
    if stream == "policy":
        assert is_zero(grads, "action_expert.") == (kept["action"] == 0)
        absent = ~batch.action_mask.any(dim=(0, 1))
        assert is_zero(grads, "action_expert.proj_in.weight", lambda g: g[:, absent & ~batch.state_mask.any(dim=0)])
        assert is_zero(grads, "action_expert.head.proj.weight", lambda g: g[absent])
        assert is_zero(grads, "action_expert.head.proj.bias", lambda g: g[absent])
        assert is_zero(grads, "conditioning.")
        assert is_zero(grads, "progress_expert.")
    else:
        assert is_zero(grads, "progress_expert.") == (kept["progress"] == 0)
        assert is_zero(grads, "conditioning.") == (not any(kept.values()))
        assert is_zero(grads, "conditioning.step.0.weight", lambda g: g[:, ~batch.executed_mask.any(dim=0)])
        assert is_zero(grads, "action_expert.")


@pytest.mark.parametrize("steps", range(1, HORIZON + 1))
def test_episode_ends_step_by_step(model: WorldModel, steps: int):
    batch = batch_of([Sample(kind="teleoperation", dim=DIM, steps=steps, views=(True,) * VIEWS, labelled=(True,) * HORIZON)])
    assert count_supervised("policy", batch) == {"policy_video": VIEWS * ((steps - 1) // 4), "action": steps * DIM}
    assert count_supervised("simulator", batch) == {"simulator_video": VIEWS * ((steps - 1) // 4), "progress": steps}
    for stream in STREAMS:
        errors, masks = errors_of(model, stream, batch), supervised(stream, batch)
        assert {term: int(e.kept) for term, e in errors.items()} == count_supervised(stream, batch)
        assert all(bool(e.total > 0) == bool(masks[term].any()) for term, e in errors.items())


@pytest.mark.parametrize(("term", "signal"), TERM_SIGNALS.items())
def test_weight_of_a_signal_scales_its_term_and_no_other(model: WorldModel, term: str, signal: Signal):
    batch = fake_batch(2)
    stream: Stream = "policy" if term in supervised("policy", batch) else "simulator"
    weights = batch.weights.clone()
    weights[1, SIGNALS.index(signal)] = 0.25
    before, after = errors_of(model, stream, batch), errors_of(model, stream, replace(batch, weights=weights))
    for name, errors in before.items():
        assert torch.equal(after[name].total, errors.total * torch.tensor([1.0, 0.25 if name == term else 1.0]))
        assert torch.equal(after[name].kept, errors.kept)


def test_simulator_may_be_told_more_numbers_than_the_policy_gives():
    assert MODEL.conditioning is not None
    model = random_model(replace(MODEL, conditioning=replace(MODEL.conditioning, action_dim=DIM + 2)))
    batch = fake_batch(2)
    wide = replace(batch, executed_actions=torch.randn(2, HORIZON, DIM + 2), executed_mask=torch.ones(2, DIM + 2, dtype=torch.bool))
    for stream in STREAMS:
        assert all(bool(error.total.isfinite().all()) for error in errors_of(model, stream, wide).values())


@pytest.mark.parametrize("stream", STREAMS)
def test_sample_without_any_camera_is_refused(model: WorldModel, stream: Stream):
    batch = fake_batch(3)
    view_mask = batch.view_mask.clone()
    view_mask[1] = False
    with pytest.raises(ValueError, match=r"samples \[1\] of the batch have no camera"):
        errors_of(model, stream, replace(batch, view_mask=view_mask))


def is_zero(grads: Gradients, prefix: str, part: Callable[[Tensor], Tensor] = lambda gradient: gradient) -> bool:
    """Whether all gradients with that name are exactly zero, where there are some."""
    return all(bool((part(gradient) == 0).all()) for name, gradient in grads.items() if name.startswith(prefix))


def assert_close(one: Gradients, other: Gradients) -> None:
    for name in one.keys() | other.keys():
        mine, theirs = (g.get(name, torch.zeros(())) for g in (one, other))
        scale = float(torch.stack([mine.abs().max(), theirs.abs().max()]).max())
        assert float((mine - theirs).abs().max()) <= ROUNDING * scale + 1e-6, name
