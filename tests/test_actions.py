from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tau0.actions import (
    EPSILON,
    ActionCodec,
    ActionError,
    Normaliser,
    Reference,
    absolute_from_delta,
    absolute_from_relative,
    delta_to_previous,
    relative_to_state,
)
from tau0.geometry import matrix_to_rotation_6d, quaternion_to_matrix

seeds = st.integers(0, 2**31)
LEFT_GRIPPER, RIGHT_GRIPPER, DUAL_ARM = 9, 19, 20


def poses(seed: int, *shape: int, arms: int = 2) -> torch.Tensor:
    """Random (position 3, rotation-6D 6) of several arms side by side."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(*shape, arms, 3, generator=generator, dtype=torch.float64)
    r = quaternion_to_matrix(torch.randn(*shape, arms, 4, generator=generator, dtype=torch.float64))
    return torch.cat([p, matrix_to_rotation_6d(r)], dim=-1).flatten(-2)


def dual_arm(seed: int, *shape: int) -> torch.Tensor:
    """Left pose, left gripper, right pose, right gripper."""
    both = poses(seed, *shape)
    grippers = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([both[..., :9], grippers[..., :1], both[..., 9:], grippers[..., 1:]], dim=-1)


def dual_arm_codec(reference: Reference) -> ActionCodec:
    action = Normaliser(mean=tuple(0.05 * k for k in range(DUAL_ARM)), std=tuple(0.5 + 0.1 * k for k in range(DUAL_ARM)))
    state = Normaliser(mean=(0.1,) * DUAL_ARM, std=(2.0,) * DUAL_ARM)
    return ActionCodec(action=action, state=state, reference=reference, poses=(0, 10), grippers=(LEFT_GRIPPER, RIGHT_GRIPPER))


def joint_codec(reference: Reference, dim: int = 7) -> ActionCodec:
    unit = Normaliser(mean=(0.0,) * dim, std=(1.0,) * dim)
    return ActionCodec(action=unit, state=unit, reference=reference, grippers=(dim - 1,))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_relative_and_delta_there_and_back(seed: int):
    chunk, state = poses(seed, 2, 5), poses(seed + 1, 2)
    torch.testing.assert_close(absolute_from_relative(relative_to_state(chunk, state), state), chunk)
    torch.testing.assert_close(absolute_from_delta(delta_to_previous(chunk, state), state), chunk)
    torch.testing.assert_close(delta_to_previous(chunk, state)[:, 0], relative_to_state(chunk, state)[:, 0])


@given(seeds, st.sampled_from(["absolute", "relative", "delta"]))
@settings(max_examples=30, deadline=None)
def test_codec_there_and_back(seed: int, reference: Reference):
    chunk, state = dual_arm(seed, 3, 6), dual_arm(seed + 1, 3)
    codec = dual_arm_codec(reference)
    torch.testing.assert_close(codec.decode(codec.encode(chunk, state), state), chunk)
    joints = joint_codec(reference)
    torch.testing.assert_close(joints.decode(joints.encode(chunk[..., :7], state[..., :7]), state[..., :7]), chunk[..., :7])


@pytest.mark.parametrize("reference", ["relative", "delta"])
def test_grippers_stay_absolute(reference: Reference):
    chunk, state = dual_arm(0, 4, 6), dual_arm(1, 4)
    measured = dual_arm_codec(reference).measure(chunk, state)
    grippers = [LEFT_GRIPPER, RIGHT_GRIPPER]
    assert torch.equal(measured[..., grippers], chunk[..., grippers])
    assert not torch.isclose(measured, chunk)[..., :3].any()


def test_staying_where_the_state_is_means_identity():
    state = dual_arm(3, 2)
    chunk = state[:, None].expand(-1, 4, -1)
    identity = torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 1, 0], dtype=torch.float64)
    references: tuple[Reference, ...] = ("relative", "delta")
    for reference in references:
        measured = dual_arm_codec(reference).measure(chunk, state)
        for arm in (slice(0, 9), slice(10, 19)):
            torch.testing.assert_close(measured[..., arm], identity.expand(2, 4, -1))


def test_joints_relative_and_delta_by_hand():
    chunk, state = torch.tensor([[1.0, 5.0], [3.0, 6.0], [6.0, 7.0]]), torch.tensor([0.5, 9.0])
    assert joint_codec("relative", 2).measure(chunk, state).tolist() == [[0.5, 5.0], [2.5, 6.0], [5.5, 7.0]]
    assert joint_codec("delta", 2).measure(chunk, state).tolist() == [[0.5, 5.0], [2.0, 6.0], [3.0, 7.0]]


@pytest.mark.parametrize("reference", ["absolute", "relative", "delta"])
def test_encoding_one_chunk_equals_a_slice_of_a_batch(reference: Reference):
    chunks, states = dual_arm(0, 4, 6), dual_arm(1, 4)
    codec = dual_arm_codec(reference)
    for i in range(4):
        torch.testing.assert_close(codec.encode(chunks[i], states[i]), codec.encode(chunks, states)[i])


def test_normalising_by_hand():
    normaliser = Normaliser(mean=(1.0, -1.0), std=(2.0, 0.5))
    x = torch.tensor([[3.0, -1.5]], dtype=torch.float64)
    expected = torch.tensor([[2 / (2 + EPSILON), -0.5 / (0.5 + EPSILON)]], dtype=torch.float64)
    torch.testing.assert_close(normaliser.normalise(x), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(normaliser.denormalise(normaliser.normalise(x)), x)


@pytest.mark.parametrize("value", [250.0, -250.0, float("inf"), float("nan")])
def test_outliers_are_rejected_by_value(value: float):
    normaliser = Normaliser(mean=(0.0, 0.0), std=(1.0, 2.0))
    assert normaliser.normalise(torch.tensor([99.0, 199.0])).max() < 100
    with pytest.raises(ActionError, match=f"the value {value:g} is not finite or more than 100"):
        normaliser.normalise(torch.tensor([[0.0, 0.0], [0.5, value]]))


def test_statistics_of_different_lengths_are_refused():
    with pytest.raises(ActionError, match="2 means but 1"):
        Normaliser(mean=(0.0, 0.0), std=(1.0,))
