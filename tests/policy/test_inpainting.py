"""Chunks that begin as the robot is already moving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tau0.checkpoint import Checkpoint
from tau0.contract import Commitment, ContractError, Observation
from tau0.encode import ObservationEncoder, robot_actions
from tau0.plan.agent import PlanningAgent
from tau0.policy.inpainting import STRONGEST, Inpainting, guidance_weight, soft_mask
from tau0.policy.one_by_one import inpaint_one_by_one
from tau0.policy.policy import JointPolicy, VideoActionPolicy
from tau0.tensors import Conditioning, Prefix
from tiny import DIM, EMBODIMENT, NUM_FUTURE, fake_conditioning

HORIZON, FROZEN, KNOWN = EMBODIMENT.action_horizon, 3, 6


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def conditioned(num_frozen: int = FROZEN, num_known: int = KNOWN) -> Conditioning:
    actions = 0.5 * torch.randn(num_known, DIM, generator=seeded(9))
    return replace(fake_conditioning(), prefix=Prefix(actions=actions, num_frozen=num_frozen))


def test_fast_inpainting_equals_the_slow_one(checkpoint: Checkpoint) -> None:
    conditioning, generator = conditioned(), seeded()
    assert conditioning.prefix is not None
    fast = VideoActionPolicy(checkpoint).propose(conditioning, 3, seeded()).actions
    future = torch.randn(1, 6, NUM_FUTURE, 4, 8, generator=generator)
    noise = torch.stack([torch.randn(HORIZON, DIM, generator=generator) for _ in range(3)])
    steps = checkpoint.config.sampling.action_steps
    slow = inpaint_one_by_one(checkpoint.model, conditioning, future, noise, conditioning.prefix, steps)
    torch.testing.assert_close(fast, slow, atol=2e-5, rtol=0)


@pytest.mark.parametrize("policy", [VideoActionPolicy, JointPolicy])
def test_all_candidates_begin_with_the_prefix(checkpoint: Checkpoint, policy: type[VideoActionPolicy]) -> None:
    conditioning = conditioned()
    assert conditioning.prefix is not None
    chunks = policy(checkpoint).propose(conditioning, 4, seeded()).actions
    assert torch.equal(chunks[:, :FROZEN], conditioning.prefix.actions[:FROZEN].expand(4, -1, -1))
    assert not torch.allclose(chunks[0, FROZEN:], chunks[1, FROZEN:], atol=1e-3)
    assert not chunks.requires_grad


def test_an_empty_prefix_is_plain_sampling(checkpoint: Checkpoint) -> None:
    plain = VideoActionPolicy(checkpoint).propose(fake_conditioning(), 3, seeded()).actions
    empty = VideoActionPolicy(checkpoint).propose(conditioned(0, 0), 3, seeded()).actions
    torch.testing.assert_close(plain, empty, atol=1e-6, rtol=0)


def test_guidance_leads_to_what_is_known_and_makes_the_seam_smooth(checkpoint: Checkpoint) -> None:
    conditioning, policy = conditioned(), VideoActionPolicy(checkpoint)
    assert conditioning.prefix is not None
    wanted = conditioning.prefix.actions
    plain = policy.propose(replace(conditioning, prefix=None), 8, seeded()).actions
    guided = policy.propose(conditioning, 8, seeded()).actions
    for step in range(FROZEN, KNOWN - 1):
        assert (guided[:, step] - wanted[step]).norm(dim=-1).mean() < 0.7 * (plain[:, step] - wanted[step]).norm(dim=-1).mean()
    naive_seam, seam = ((chunks[:, FROZEN] - wanted[FROZEN]).norm(dim=-1).mean() for chunks in (plain, guided))
    assert seam < 0.5 * naive_seam


def test_less_guidance_follows_the_last_chunk_less_and_none_does_not(checkpoint: Checkpoint) -> None:
    conditioning = conditioned(0, KNOWN)
    assert conditioning.prefix is not None
    plain = VideoActionPolicy(checkpoint).propose(replace(conditioning, prefix=None), 4, seeded()).actions
    chunks = [VideoActionPolicy(checkpoint, guidance=g).propose(conditioning, 4, seeded()).actions for g in (0.0, 0.5, 5.0)]
    torch.testing.assert_close(chunks[0], plain, atol=1e-6, rtol=0)
    far = [float((chunk[:, :3] - conditioning.prefix.actions[:3]).norm()) for chunk in chunks]
    assert far[0] > far[1] > far[2]
    with pytest.raises(ValueError, match="guidance must be at least 0"):
        VideoActionPolicy(checkpoint, guidance=-1.0)


def test_the_mask_is_one_then_decays_then_ends() -> None:
    mask = soft_mask(10, 3, 7)
    assert mask[:3].tolist() == [1, 1, 1]
    assert mask[7:].tolist() == [0, 0, 0]
    c = np.array([4, 3, 2, 1]) / 5
    np.testing.assert_allclose(mask[3:7], c * (np.exp(c) - 1) / (np.e - 1), rtol=1e-6)
    assert soft_mask(5, 0, 0).tolist() == [0] * 5
    assert soft_mask(5, 5, 5).tolist() == [1] * 5


def test_the_weight_is_the_papers_and_clipped() -> None:
    for tau in (0.2, 0.5, 0.8):
        sigma = 1 - tau
        assert guidance_weight(sigma, 100.0) == pytest.approx(sigma / (tau * (sigma**2 / (tau**2 + sigma**2))))
    assert guidance_weight(1.0) == guidance_weight(0.999) == guidance_weight(0.0) == STRONGEST
    with pytest.raises(ValueError, match="does not fit a chunk of 2"):
        Inpainting(Prefix(actions=torch.zeros(3, 2), num_frozen=1), 2)


def test_an_agent_goes_on_with_what_the_robot_is_doing(checkpoint: Checkpoint) -> None:
    committed = Commitment(actions=np.random.default_rng(0).uniform(-0.9, 0.9, (KNOWN, DIM)).astype(np.float32), num_frozen=FROZEN)
    observation = replace(Observation.fake(EMBODIMENT), committed=committed)
    agent = PlanningAgent(checkpoint, "full", 3, gate_threshold=float("inf"))
    decision = agent.decide(observation)
    rounds = [decision.proposals] + ([decision.revision] if decision.revision is not None else [])
    assert len(rounds) == 2
    for considered in rounds:
        np.testing.assert_allclose(considered.actions[:, :FROZEN], np.tile(committed.actions[:FROZEN], (3, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(decision.chunk.actions[:FROZEN], committed.actions[:FROZEN], atol=1e-5)


def test_a_robot_that_moves_gets_the_whole_chunk(checkpoint: Checkpoint) -> None:
    waits = Observation.fake(EMBODIMENT)
    moves = replace(waits, committed=Commitment(actions=np.zeros((0, DIM), np.float32), num_frozen=0))
    short, whole = (PlanningAgent(checkpoint, "single").decide(observation).chunk.actions for observation in (waits, moves))
    assert (len(short), len(whole)) == (checkpoint.config.sampling.execute_steps, HORIZON)
    np.testing.assert_allclose(short, whole[: len(short)], atol=1e-5)


def test_a_commitment_is_measured_from_where_the_robot_is(checkpoint: Checkpoint) -> None:
    codec = replace(checkpoint.config.codec, reference="relative")
    relative = replace(checkpoint, config=replace(checkpoint.config, codec=codec))
    committed = Commitment(actions=np.full((2, DIM), 0.3, np.float32), num_frozen=1)
    observation = replace(Observation.fake(EMBODIMENT), committed=committed)
    prefix = ObservationEncoder(relative).encode(observation).prefix
    assert prefix is not None
    decoded = robot_actions(relative.config, prefix.actions[None], torch.from_numpy(observation.state))
    np.testing.assert_allclose(decoded[0], committed.actions, atol=1e-5)


@pytest.mark.parametrize(
    ("committed", "words"),
    [
        (Commitment(actions=np.zeros((2, DIM + 1), np.float32), num_frozen=0), "shape"),
        (Commitment(actions=np.zeros((HORIZON + 1, DIM), np.float32), num_frozen=0), "shape"),
        (Commitment(actions=np.full((2, DIM), np.nan, np.float32), num_frozen=0), "not finite"),
        (Commitment(actions=np.zeros((2, DIM), np.float32), num_frozen=3), "num_frozen is 3"),
    ],
)
def test_commitments_that_cannot_be_are_refused(checkpoint: Checkpoint, committed: Commitment, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        ObservationEncoder(checkpoint).encode(replace(Observation.fake(EMBODIMENT), committed=committed))
