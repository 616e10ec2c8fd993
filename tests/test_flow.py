import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tau0.flow import Euler, UniPC, add_noise, euler_schedule, shift, solve, training_levels, unipc_schedule, velocity_target

GOLDEN = Path(__file__).parent / "golden" / "flow_schedules.safetensors"


def test_data_is_recovered_from_noisy_point_and_velocity():
    x, noise = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).unbind(0)
    sigma = torch.tensor(0.3)
    noisy = add_noise(x, noise, sigma)
    torch.testing.assert_close(noisy - sigma * velocity_target(x, noise), x)


@pytest.mark.parametrize("k", [1.0, 5.0])
@pytest.mark.parametrize("solver", [lambda n, k: Euler(euler_schedule(n, k)), lambda n, k: UniPC(unipc_schedule(n, k))])
def test_exact_velocity_of_one_point_leads_to_that_point(solver, k):
    target = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    running = solver(7, k)
    state = {"i": 0}

    def velocity(x, timestep):
        sigma = running.schedule.sigmas[state["i"]]
        state["i"] += 1
        return (x - target) / sigma

    out = solve(running, torch.randn(16, generator=torch.Generator().manual_seed(2), dtype=torch.float64), velocity)
    torch.testing.assert_close(out, target)


def test_training_levels_stay_on_the_published_grid():
    g = torch.Generator().manual_seed(0)
    video = training_levels(20_000, 5.0, first=0.999, generator=g)
    actions = training_levels(20_000, 1.0, first=1.0, generator=g)
    assert video.min() == 0 and video.max() == pytest.approx(shift(0.999, 5.0))
    assert actions.min() == pytest.approx(0.001) and actions.max() == 1
    assert video.median() > 0.8 and abs(float(actions.median()) - 0.5) < 0.02
    assert json.dumps(sorted(actions.unique().tolist())[:2]) == json.dumps(sorted((torch.arange(1, 3) / 1000).tolist()))


def test_golden_file_has_the_velocity_this_project_tests_with():
    with safe_open(GOLDEN, "pt") as f:
        assert "sin(3 x)" in f.metadata()["velocity"]
