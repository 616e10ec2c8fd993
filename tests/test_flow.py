from fractions import Fraction

import pytest
import torch

from tau0.flow import Euler, UniPC, add_noise, euler_schedule, shift, solve, training_levels, unipc_schedule, velocity_target


def noise_of(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_data_is_recovered_from_noisy_point_and_velocity():
    x, noise, sigma = noise_of(0, 64), noise_of(1, 64), torch.tensor(0.3)
    noisy = add_noise(x, noise, sigma)
    torch.testing.assert_close(noisy - sigma * velocity_target(x, noise), x)


@pytest.mark.parametrize("k", [1.0, 5.0])
@pytest.mark.parametrize("solver", [lambda n, k: Euler(euler_schedule(n, k)), lambda n, k: UniPC(unipc_schedule(n, k))])
def test_exact_velocity_of_one_point_leads_to_that_point(solver, k: float):
    target, running = noise_of(1, 16), solver(7, k)
    sigmas = iter(running.schedule.sigmas)
    end = solve(running, noise_of(2, 16), lambda x, _timestep: (x - target) / next(sigmas))
    torch.testing.assert_close(end, target)


@pytest.mark.parametrize("make", [lambda n: Euler(euler_schedule(n)), lambda n: UniPC(unipc_schedule(n))])
def test_error_shrinks_with_more_steps(make):
    def field(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * x) + (0.5 - timestep / 1000) * x

    x = noise_of(3, 32)
    fine = solve(make(400), x, field)
    errors = [float((solve(make(n), x, field) - fine).abs().max()) for n in (5, 10, 20)]
    assert errors[0] > errors[1] > errors[2]


def test_training_levels_stay_on_the_published_grid():
    video = training_levels(torch.arange(1000), 5.0, first=0.999)
    actions = training_levels(torch.arange(1000), 1.0, first=1.0)
    assert video.min() == 0
    assert float(video.max()) == pytest.approx(shift(0.999, 5.0))
    assert float(actions.min()) == pytest.approx(0.001)
    assert actions.max() == 1
    assert video.median() > 0.8
    assert float(actions.median()) == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(actions * 1000, (actions * 1000).round(), atol=1e-3, rtol=0)


def test_shift_keeps_the_ends_and_moves_toward_noise():
    assert shift(0.0, 5.0) == 0
    assert shift(1.0, 5.0) == 1
    assert shift(0.5, 5.0) == pytest.approx(5 / 6)
    assert shift(0.3, 1.0) == pytest.approx(0.3)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_timesteps_are_floored_as_exact_numbers_would_be(k: int):
    """0.999 (1 - i / n) is a multiple of 0.001 for some n; float64 does not know it."""
    for n in range(1, 61):
        levels = [Fraction(999, 1000) * (1 - Fraction(i, n)) for i in range(n)]
        exact = [int(1000 * k * u / (1 + (k - 1) * u)) for u in levels]
        assert unipc_schedule(n, float(k)).timesteps.tolist() == exact, n
