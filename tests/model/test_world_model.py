"""What must hold of the world model whatever its weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tau0.checkpoint import Checkpoint
from tau0.model.config import ConditioningConfig, ExpertConfig, TrunkConfig, WorldModelConfig
from tau0.model.world_model import MissingPartError, WorldModel
from tiny import DIM, EMBODIMENT, GROUP, MODEL, NUM_FUTURE

HORIZON, NUM_CLEAN, COLUMNS = EMBODIMENT.action_horizon, 4, 8
SIZE = {
    "trunk": TrunkConfig(width=3072, ffn_width=14336, num_heads=24, num_layers=30, latent_channels=48, text_width=4096, text_length=512),
    "action": ExpertConfig(dim=20, width=1024, ffn_width=2048, num_heads=16),
    "conditioning": ConditioningConfig(action_dim=26, width=1536, group=16),
    "progress": ExpertConfig(dim=1, width=1536, ffn_width=2048, num_heads=16),
}


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> WorldModel:
    return checkpoint.model


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def levels(b: int, num_clean: int) -> Tensor:
    return torch.tensor([[0.0] * num_clean + [700.0] * NUM_FUTURE]).expand(b, -1)


def policy_inputs(b: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    return numbers(b, 6, 1 + NUM_FUTURE, 4, COLUMNS), levels(b, 1), numbers(b, 16, 384, seed=1)


def simulator_inputs(b: int = 3) -> dict[str, Any]:
    return {
        "latents": numbers(b, 6, NUM_CLEAN + NUM_FUTURE, 4, COLUMNS),
        "video_timestep": levels(b, NUM_CLEAN),
        "text": numbers(b, 16, 384, seed=1),
        "actions": numbers(b, HORIZON, DIM, seed=2),
        "noisy_progress": numbers(b, HORIZON, seed=3),
        "progress_timestep": torch.full((b,), 400.0),
    }


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)]


def test_a_batch_of_one_is_a_slice_of_a_batch(model: WorldModel) -> None:
    latents, timestep, text = policy_inputs()
    features = model.video_features(latents, timestep, text)
    one = model.video_features(latents[1:2], timestep[1:2], text[1:2])
    torch.testing.assert_close(one.velocity, features.velocity[1:2], atol=1e-5, rtol=1e-5)
    noisy, state, when = numbers(3, HORIZON, DIM), numbers(3, DIM), torch.tensor([100.0, 500.0, 900.0])
    all_of_them = model.denoise_actions(model.action_context(features), noisy, when, state)
    alone = model.denoise_actions(model.action_context(one), noisy[1:2], when[1:2], state[1:2])
    torch.testing.assert_close(alone, all_of_them[1:2], atol=1e-5, rtol=1e-5)
    inputs = simulator_inputs()
    features, progress = model.denoise_future(**inputs)
    one, alone = model.denoise_future(**{name: value[1:2] for name, value in inputs.items()})
    torch.testing.assert_close(one.velocity, features.velocity[1:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, progress[1:2], atol=1e-5, rtol=1e-5)


def test_chunks_that_share_a_context_do_not_see_each_other(model: WorldModel) -> None:
    context = model.action_context(model.video_features(*policy_inputs(1)))
    noisy, state, when = numbers(4, HORIZON, DIM), numbers(4, DIM), torch.full((4,), 500.0)
    together = model.denoise_actions(context, noisy, when, state)
    apart = torch.cat([model.denoise_actions(context, noisy[i : i + 1], when[:1], state[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_video_never_depends_on_the_experts(model: WorldModel) -> None:
    features = model.video_features(*policy_inputs(1))
    before = [hidden.clone() for hidden in features.hidden]
    noisy, state = numbers(1, HORIZON, DIM).requires_grad_(), numbers(1, DIM).requires_grad_()
    model.denoise_actions(model.action_context(features), noisy, torch.tensor([500.0]), state)
    assert all(torch.equal(a, b) for a, b in zip(features.hidden, before, strict=True))
    assert torch.autograd.grad(features.velocity.sum(), (noisy, state), allow_unused=True) == (None, None)


def test_state_and_video_reach_the_actions(model: WorldModel) -> None:
    noisy, when = numbers(1, HORIZON, DIM), torch.tensor([500.0])
    latents, timestep, text = policy_inputs(1)
    context = model.action_context(model.video_features(latents, timestep, text))
    other_context = model.action_context(model.video_features(latents, timestep, -text))
    usual = model.denoise_actions(context, noisy, when, numbers(1, DIM))
    assert not torch.allclose(usual, model.denoise_actions(context, noisy, when, -numbers(1, DIM)), atol=1e-4)
    assert not torch.allclose(usual, model.denoise_actions(other_context, noisy, when, numbers(1, DIM)), atol=1e-5)


def test_no_actions_are_not_zeroed_actions(model: WorldModel) -> None:
    inputs = simulator_inputs(1)
    skipped = model.video_features(inputs["latents"], inputs["video_timestep"], inputs["text"]).velocity
    zeroed = model.denoise_future(**{**inputs, "actions": torch.zeros(1, HORIZON, DIM)})[0].velocity
    assert not torch.allclose(skipped, zeroed, atol=1e-4)


def test_an_action_steers_its_own_frame_alone(model: WorldModel) -> None:
    """Only the steering is local; attention then carries it everywhere. The last action is never seen."""
    conditioning = model.conditioning
    assert conditioning is not None
    actions = numbers(1, HORIZON, DIM)
    e, e0 = conditioning(actions, NUM_CLEAN)
    for step in range(HORIZON):
        changed = actions.clone()
        changed[:, step] += 1
        for usual, other in zip((e, e0), conditioning(changed, NUM_CLEAN), strict=True):
            frames = [f for f in range(NUM_CLEAN + NUM_FUTURE) if not torch.equal(usual[:, f], other[:, f])]
            assert frames == ([] if step == HORIZON - 1 else [NUM_CLEAN + step // GROUP])
    assert all(torch.equal(e[:, 0], e[:, f]) for f in range(NUM_CLEAN))
    assert bool((e[:, 0] != 0).any())


def test_the_last_action_changes_no_future(model: WorldModel) -> None:
    inputs = simulator_inputs(1)
    last, first = inputs["actions"].clone(), inputs["actions"].clone()
    last[:, -1] += 1
    first[:, 0] += 1
    usual, progress = model.denoise_future(**inputs)
    same, same_progress = model.denoise_future(**{**inputs, "actions": last})
    assert torch.equal(usual.velocity, same.velocity)
    assert torch.equal(progress, same_progress)
    assert not torch.allclose(usual.velocity, model.denoise_future(**{**inputs, "actions": first})[0].velocity, atol=1e-5)


def test_progress_teaches_the_trunk_nothing(model: WorldModel) -> None:
    model.zero_grad()
    _, progress = model.denoise_future(**simulator_inputs())
    progress.square().sum().backward()
    assert model.progress_expert is not None
    assert model.conditioning is not None
    assert len(gradients(model.progress_expert)) > 10
    assert not gradients(model.trunk)
    assert not gradients(model.conditioning)
    model.zero_grad()


def test_actions_teach_the_trunk(model: WorldModel) -> None:
    model.zero_grad()
    context = model.action_context(model.video_features(*policy_inputs(1)))
    model.denoise_actions(context, numbers(1, HORIZON, DIM), torch.tensor([500.0]), numbers(1, DIM)).square().sum().backward()
    assert len(gradients(model.trunk)) > 10
    model.zero_grad()


def test_a_camera_that_is_missing_influences_nothing(model: WorldModel) -> None:
    latents, timestep, text = policy_inputs(1)
    mask = torch.arange(COLUMNS)[None] < COLUMNS // 2
    token_mask = model.trunk.token_mask(mask, model.grid(latents))
    noisy, state, when = numbers(1, HORIZON, DIM), numbers(1, DIM), torch.tensor([500.0])

    def outputs(canvas: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features = model.video_features(canvas, timestep, text, mask)
        actions = model.denoise_actions(model.action_context(features), noisy, when, state, token_mask)
        inputs = simulator_inputs(1)
        frames = torch.cat([canvas[:, :, :1].expand(-1, -1, NUM_CLEAN, -1, -1), canvas[:, :, 1:]], dim=2)
        future, progress = model.denoise_future(**{**inputs, "latents": frames}, column_mask=mask)
        return features.velocity[..., : COLUMNS // 2], actions, future.velocity[..., : COLUMNS // 2], progress

    scrambled = latents.clone()
    scrambled[..., COLUMNS // 2 :] = 10 * numbers(1, 6, 1 + NUM_FUTURE, 4, COLUMNS // 2, seed=9)
    for usual, other in zip(outputs(latents), outputs(scrambled), strict=True):
        torch.testing.assert_close(usual, other, atol=1e-6, rtol=0)
    latents.requires_grad_()
    sum(output.square().sum() for output in outputs(latents)).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert latents.grad is not None
    assert float(latents.grad[..., COLUMNS // 2 :].abs().max()) == 0
    assert float(latents.grad[..., : COLUMNS // 2].abs().min()) > 0
    model.zero_grad()


def test_all_cameras_present_is_no_mask(model: WorldModel) -> None:
    inputs = simulator_inputs(2)
    everything = torch.ones(2, COLUMNS, dtype=torch.bool)
    for masked, plain in zip(model.denoise_future(**inputs, column_mask=everything), model.denoise_future(**inputs), strict=True):
        one, other = (x if isinstance(x, Tensor) else x.velocity for x in (masked, plain))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_short_text_is_padded_with_zeros_before_its_projection(model: WorldModel) -> None:
    latents, timestep, text = policy_inputs(1)
    padded = text.clone()
    padded[:, 5:] = 0
    short = model.video_features(latents, timestep, text[:, :5]).velocity
    torch.testing.assert_close(short, model.video_features(latents, timestep, padded).velocity)


def test_a_fresh_model_predicts_zero_velocities() -> None:
    fresh = WorldModel(MODEL)
    features, progress = fresh.denoise_future(**simulator_inputs(1))
    assert not bool(features.velocity.any())
    assert not bool(progress.any())


def test_missing_parts_and_horizons_that_do_not_fit_are_named(model: WorldModel) -> None:
    inputs = simulator_inputs(1)
    with pytest.raises(ValueError, match=f"{HORIZON + 1} actions in groups of {GROUP}"):
        model.denoise_future(**{**inputs, "actions": numbers(1, HORIZON + 1, DIM)})
    policy = WorldModel(replace(MODEL, conditioning=None, progress=None))
    with pytest.raises(MissingPartError, match="action conditioning"):
        policy.denoise_future(**inputs)
    simulator = WorldModel(replace(MODEL, action=None))
    with pytest.raises(MissingPartError, match="action expert"):
        simulator.action_context(simulator.video_features(*policy_inputs(1)))


def count(module: torch.nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


def published(*parts: str) -> WorldModel:
    with torch.device("meta"):
        return WorldModel(WorldModelConfig(**{part: SIZE[part] for part in ("trunk", *parts)}))  # pyright: ignore[reportArgumentType]


def test_published_shapes_have_the_published_number_of_parameters() -> None:
    policy, simulator = published("action"), published("conditioning", "progress")
    assert (count(policy), count(policy.action_expert)) == (5_511_465_172, 511_677_460)
    assert (count(simulator), count(simulator.progress_expert)) == (5_952_062_785, 914_489_857)
    assert count(simulator.conditioning) == 37_785_216
    assert count(published("action", "conditioning", "progress")) == count(simulator) + count(policy.action_expert)
