"""Batched futures equal futures imagined one at a time from the same noise."""

from __future__ import annotations

import torch

from tau0.checkpoint import Checkpoint
from tau0.simulate.one_by_one import imagine_one_by_one
from tau0.simulate.simulator import ActionConditionedSimulator
from tiny import DIM, EMBODIMENT, NUM_FUTURE, fake_conditioning

HORIZON = EMBODIMENT.action_horizon


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chunks(n: int) -> torch.Tensor:
    return torch.randn(n, HORIZON, DIM, generator=seeded(11))


def test_fast_futures_equal_slow_ones(checkpoint: Checkpoint) -> None:
    conditioning, generator = fake_conditioning(), seeded()
    fast = ActionConditionedSimulator(checkpoint).imagine(conditioning, chunks(4), seeded())
    video = torch.randn(1, 6, NUM_FUTURE, 4, 8, generator=generator)
    progress = torch.randn(1, HORIZON, generator=generator)
    latents, curves = imagine_one_by_one(checkpoint.simulator, conditioning, chunks(4), video, progress, 5)
    torch.testing.assert_close(fast.latents, latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.progress, curves, atol=1e-5, rtol=0)


def test_equal_chunks_get_equal_futures_and_unequal_ones_do_not(checkpoint: Checkpoint) -> None:
    actions = chunks(2)[[0, 1, 0]]
    futures = ActionConditionedSimulator(checkpoint).imagine(fake_conditioning(), actions, seeded())
    torch.testing.assert_close(futures.latents[0], futures.latents[2], atol=1e-5, rtol=0)
    assert not torch.allclose(futures.latents[0], futures.latents[1], atol=1e-3)
    assert not torch.equal(futures.progress[0], futures.progress[1])


def test_partial_is_one_step_before_the_end(checkpoint: Checkpoint) -> None:
    futures = ActionConditionedSimulator(checkpoint).imagine(fake_conditioning(), chunks(2), seeded())
    assert abs(futures.partial_sigma - 0.2) < 1e-12
    assert futures.partial.shape == futures.latents.shape == (2, 6, NUM_FUTURE, 4, 8)
    assert not torch.allclose(futures.partial, futures.latents, atol=1e-3)


def test_progress_stays_in_its_range(checkpoint: Checkpoint) -> None:
    progress = ActionConditionedSimulator(checkpoint).imagine(fake_conditioning(), 3 * chunks(8), seeded()).progress
    assert progress.shape == (8, HORIZON)
    assert progress.min() >= -1
    assert progress.max() <= 1


def test_memory_matters_to_the_future(checkpoint: Checkpoint) -> None:
    simulator, ours, other = ActionConditionedSimulator(checkpoint), fake_conditioning(0), fake_conditioning(1)
    mixed = type(ours)(current=ours.current, memory=other.memory, text=ours.text, state=ours.state)
    first, second = (simulator.imagine(c, chunks(1), seeded()).latents for c in (ours, mixed))
    assert not torch.allclose(first, second, atol=1e-4)


def test_rendering_takes_any_number_of_steps(checkpoint: Checkpoint) -> None:
    futures = ActionConditionedSimulator(checkpoint).render(fake_conditioning(), chunks(2), seeded(), num_steps=3)
    assert futures.latents.shape == (2, 6, NUM_FUTURE, 4, 8)
    assert torch.isfinite(futures.latents).all()
