"""What is masked teaches nothing, exactly; what is not masked is learned as if the rest were not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from fake_source import NUM_MEMORY, fake_batch
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.objective import drop_captions, masked_errors, policy_losses, simulator_losses
from tiny import tiny_checkpoint

CONFIG = TrainConfig(action_draws=2, pure_noise_share=0.5)
SAMPLING = SamplingConfig(num_memory=NUM_MEMORY)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return tiny_checkpoint(seed=1).model


def policy(model: WorldModel, batch: Batch) -> dict[str, Tensor]:
    return policy_losses(model, batch, CONFIG, SAMPLING, Draws.of((0,), range(len(batch))))


def simulator(model: WorldModel, batch: Batch, config: TrainConfig = CONFIG) -> dict[str, Tensor]:
    return simulator_losses(model, batch, config, SAMPLING, Draws.of((0,), range(len(batch))))


def gradients(model: WorldModel, loss: Tensor) -> dict[str, Tensor]:
    """Of every parameter that has one."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def without(batch: Batch, mask: str, sample: int | None = None) -> Batch:
    """The batch with one mask false, everywhere or for one sample."""
    values = getattr(batch, mask).clone()
    values[slice(None) if sample is None else sample] = False
    return replace(batch, **{mask: values})


CASES = [
    (policy, "action", "action_mask", "action_expert."),
    (policy, "policy_video", "video_mask", "trunk."),
    (simulator, "simulator_video", "video_mask", "conditioning."),
    (simulator, "simulator_video", "executed_mask", "conditioning."),
    (simulator, "progress", "progress_mask", "progress_expert."),
    (simulator, "progress", "executed_mask", "progress_expert."),
]


@pytest.mark.parametrize(("losses", "term", "mask", "part"), CASES)
def test_masked_modality_has_exactly_zero_gradient(
    model: WorldModel, losses: Callable[..., dict[str, Tensor]], term: str, mask: str, part: str
):
    batch = fake_batch(2)
    learned = gradients(model, losses(model, batch)[term])
    assert any(grad.abs().sum() > 0 for name, grad in learned.items() if name.startswith(part))
    masked = losses(model, without(batch, mask))[term]
    assert masked == 0
    assert all((grad == 0).all() for grad in gradients(model, masked).values())


@pytest.mark.parametrize(
    ("losses", "term", "mask", "field"),
    [
        (policy, "action", "action_mask", "target_actions"),
        (policy, "policy_video", "video_mask", "latents"),
        (simulator, "simulator_video", "video_mask", "latents"),
        (simulator, "progress", "progress_mask", "progress"),
        (simulator, "simulator_video", "executed_mask", "executed_actions"),
    ],
)
def test_masked_sample_leaves_the_others_alone(
    model: WorldModel, losses: Callable[..., dict[str, Tensor]], term: str, mask: str, field: str
):
    batch = without(fake_batch(3), mask, sample=0)
    changed = getattr(batch, field).clone()
    changed[0] = 0.5 - changed[0]
    first, second = (losses(model, b)[term] for b in (batch, replace(batch, **{field: changed})))
    assert first == second
    before, after = gradients(model, first), gradients(model, second)
    for name, grad in before.items():
        torch.testing.assert_close(after[name], grad, rtol=0, atol=0)


@pytest.mark.parametrize("losses", [policy, simulator])
def test_missing_camera_changes_nothing(model: WorldModel, losses: Callable[..., dict[str, Tensor]]):
    batch = fake_batch(2)
    view_mask = batch.view_mask.clone()
    view_mask[0, 1] = False
    latents = batch.latents.clone()
    latents[0, 1] = 7.0
    batch = replace(batch, view_mask=view_mask)
    for name, loss in losses(model, batch).items():
        torch.testing.assert_close(losses(model, replace(batch, latents=latents))[name], loss, rtol=0, atol=0)


def test_loss_is_the_mean_over_what_is_kept(model: WorldModel):
    batch = fake_batch(2)
    whole, first, second = (policy(model, b)["action"] for b in (batch, without(batch, "action_mask", 1), without(batch, "action_mask", 0)))
    torch.testing.assert_close(whole, (first + second) / 2)


@pytest.mark.parametrize("shapes", [False, True])
def test_progress_teaches_the_trunk_only_where_it_shall(model: WorldModel, shapes: bool):
    config = replace(CONFIG, progress_shapes_trunk=shapes)
    learned = gradients(model, simulator(model, fake_batch(2), config)["progress"])
    assert any(name.startswith("trunk.") for name in learned) == shapes
    assert any(name.startswith("progress_expert.") for name in learned)


def test_a_share_of_the_policys_samples_sees_what_a_revision_sees(model: WorldModel, monkeypatch: pytest.MonkeyPatch):
    seen: list[Tensor] = []
    original = model.video_features
    monkeypatch.setattr(model, "video_features", lambda frames, timestep, *rest: seen.append(timestep) or original(frames, timestep, *rest))
    config = replace(CONFIG, pure_noise_share=0.4, revision_share=0.3)
    policy_losses(model, fake_batch(200), config, SAMPLING, Draws.of((0,), range(200)))
    levels = seen[0][:, -1]
    assert 40 < int((levels == 1000 * SAMPLING.revision_sigma).sum()) < 80
    assert 60 < int((levels == 1000).sum()) < 100
    assert (seen[0][:, 0] == 0).all()


def test_shares_that_exceed_the_whole_are_refused():
    with pytest.raises(ValueError, match="revision_share"):
        TrainConfig(pure_noise_share=0.8, revision_share=0.3)


def test_policy_never_sees_the_executed_actions_or_the_memory(model: WorldModel):
    batch = fake_batch(2)
    latents = batch.latents.clone()
    latents[:, :, :, :NUM_MEMORY] = 9.0
    other = replace(batch, executed_actions=batch.executed_actions + 1, progress=-batch.progress, latents=latents)
    assert policy(model, batch) == policy(model, other)


def test_masked_mean_of_nothing_is_zero():
    error, weight = torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([1.0, 0.5])
    assert masked_errors(error, torch.zeros(2, 2, dtype=torch.bool), weight).mean() == 0
    assert masked_errors(error, torch.tensor([[True, True], [False, False]]), weight).mean() == 2
    assert masked_errors(error, torch.ones(2, 2, dtype=torch.bool), weight).mean() == (4 + 6) / 4


def test_dropped_captions_are_what_the_encoder_makes_of_nothing(checkpoint: Checkpoint):
    batch, empty = fake_batch(64), torch.arange(4.0 * 384).reshape(4, 384)
    text = drop_captions(batch, empty, 0.5, Draws.of((0,), range(64))).text
    dropped = (text == empty).all(dim=(1, 2))
    assert 16 < int(dropped.sum()) < 48
    assert torch.equal(text[~dropped], batch.text[~dropped])
    assert (checkpoint.text.encode([""]) == 0).all()
