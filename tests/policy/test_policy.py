"""One trunk pass and batched candidates give what a pass per candidate and step gives."""

from __future__ import annotations

from dataclasses import replace

import torch

from tau0.checkpoint import Checkpoint
from tau0.policy.one_by_one import propose_one_by_one
from tau0.policy.policy import VideoActionPolicy
from tau0.tensors import Conditioning
from tiny import DIM, EMBODIMENT, NUM_FUTURE, fake_conditioning

HORIZON = EMBODIMENT.action_horizon


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def future_noise(conditioning: Conditioning, generator: torch.Generator) -> torch.Tensor:
    _, z, _, h, w = conditioning.current.shape
    return torch.randn(1, z, NUM_FUTURE, h, w, generator=generator)


def test_fast_proposals_equal_slow_ones(checkpoint: Checkpoint) -> None:
    conditioning, generator = fake_conditioning(), seeded()
    fast = VideoActionPolicy(checkpoint).propose(conditioning, 5, seeded()).actions
    future = future_noise(conditioning, generator)
    noise = torch.stack([torch.randn(HORIZON, DIM, generator=generator) for _ in range(5)])
    slow = propose_one_by_one(checkpoint.model, conditioning, future, 1.0, noise, checkpoint.config.sampling.action_steps)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_fast_revision_equals_slow_one(checkpoint: Checkpoint) -> None:
    conditioning, generator = fake_conditioning(), seeded()
    future = future_noise(conditioning, seeded(8))
    fast = VideoActionPolicy(checkpoint).propose(conditioning, 3, seeded(), future, 0.2).actions
    noise = torch.stack([torch.randn(HORIZON, DIM, generator=generator) for _ in range(3)])
    slow = propose_one_by_one(checkpoint.model, conditioning, future, 0.2, noise, checkpoint.config.sampling.action_steps)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)
    elsewhere = VideoActionPolicy(checkpoint).propose(conditioning, 3, seeded(), -future, 0.2).actions
    assert not torch.allclose(fast, elsewhere, atol=1e-4)


def test_a_candidate_does_not_depend_on_how_many_follow(checkpoint: Checkpoint) -> None:
    policy, conditioning = VideoActionPolicy(checkpoint), fake_conditioning()
    one, many = (policy.propose(conditioning, n, seeded()).actions for n in (1, 8))
    torch.testing.assert_close(one[0], many[0], atol=1e-5, rtol=0)
    assert not torch.allclose(many[0], many[1], atol=1e-2)


def test_joint_mode_imagines_one_future_for_all_candidates(checkpoint: Checkpoint) -> None:
    policy, conditioning = VideoActionPolicy(checkpoint), fake_conditioning()
    proposals = policy.propose_joint(conditioning, 4, seeded())
    assert proposals.actions.shape == (4, HORIZON, DIM)
    assert proposals.video is not None
    assert proposals.video.shape == (1, 6, NUM_FUTURE, 4, 8)
    alone = policy.propose_joint(conditioning, 1, seeded())
    torch.testing.assert_close(proposals.actions[:1], alone.actions, atol=1e-5, rtol=0)
    assert alone.video is not None
    torch.testing.assert_close(proposals.video, alone.video, atol=1e-5, rtol=0)


def test_velocity_shares_the_pass_the_proposals_came_from(checkpoint: Checkpoint) -> None:
    policy, conditioning = VideoActionPolicy(checkpoint), fake_conditioning()
    proposals = policy.propose(conditioning, 3, seeded())
    noisy = torch.randn(3, HORIZON, DIM, generator=seeded(4))
    velocity = policy.velocity(proposals)(noisy, 0.6)
    levels, latents = (
        torch.tensor([[0.0, 1000.0, 1000.0]]),
        torch.cat([conditioning.current, future_noise(conditioning, seeded())], dim=2),
    )
    features = checkpoint.model.video_features(latents, levels, conditioning.text)
    context = checkpoint.model.action_context(features)
    expected = checkpoint.model.denoise_actions(context, noisy, torch.full((3,), 600.0), conditioning.state.expand(3, -1))
    torch.testing.assert_close(velocity, expected.detach(), atol=1e-5, rtol=0)


def test_another_text_is_read_anew(checkpoint: Checkpoint) -> None:
    policy, first = VideoActionPolicy(checkpoint), fake_conditioning(0)
    second = replace(first, text=fake_conditioning(1).text)
    alternating = [policy.propose(c, 2, seeded()).actions for c in (first, second, first)]
    fresh = VideoActionPolicy(checkpoint).propose(second, 2, seeded()).actions
    assert torch.equal(alternating[0], alternating[2])
    assert torch.equal(alternating[1], fresh)
    assert not torch.allclose(alternating[0], alternating[1], atol=1e-4)


def test_what_a_robot_does_not_have_is_zero_and_changes_nothing(checkpoint: Checkpoint) -> None:
    lacking = replace(checkpoint, config=replace(checkpoint.config, absent=(3,)))
    conditioning = fake_conditioning()
    conditioning = replace(conditioning, state=conditioning.state.index_fill(1, torch.tensor([3]), 0.0))
    before = VideoActionPolicy(lacking).propose(conditioning, 2, seeded())
    expert = checkpoint.model.action_expert
    assert expert is not None
    column = expert.proj_in.weight[:, 3].clone()
    with torch.no_grad():
        expert.proj_in.weight[:, 3] = 100.0
        after = VideoActionPolicy(lacking).propose(conditioning, 2, seeded())
        expert.proj_in.weight[:, 3] = column
    assert (before.actions[..., 3] == 0).all()
    assert torch.equal(before.actions, after.actions)
