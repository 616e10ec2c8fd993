"""Muon inside blocks, AdamW elsewhere: against what each should do, and through a saved state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tau0.train.config import TrainConfig
from tau0.train.optimiser import MuonAdamW, make_optimiser, orthogonalised
from tau0.train.state import Average, Position, load_state, save_state

CONFIG = TrainConfig(learning_rate=1e-2, muon_rate=2e-2, weight_decay=0.1)


class Net(nn.Module):
    """A matrix before the blocks, and a block with a map of queries, keys and values in one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Linear(6, 8)
        self.blocks = nn.ModuleList([nn.ModuleDict({"qkv": nn.Linear(8, 24), "out": nn.Linear(24, 8)})])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            x = block["out"](block["qkv"](self.before(x)).tanh())
        return x


def steps(net: Net, optimiser: torch.optim.Optimizer, first: int, stop: int) -> None:
    for step in range(first, stop):
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        (net(x) - x[:, :1]).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 12), (2, 12, 5)])
def test_orthogonalised_has_equal_singular_values_and_the_same_directions(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalised(matrices)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    agreement = (found * nearest).sum(dim=(1, 2)) / (found.norm(dim=(1, 2)) * nearest.norm(dim=(1, 2)))
    assert agreement.min() > 0.95


def test_queries_keys_and_values_are_three_matrices() -> None:
    net = Net()
    optimiser = make_optimiser(net, replace(CONFIG, weight_decay=0.0))
    assert isinstance(optimiser, MuonAdamW)
    qkv = net.get_parameter("blocks.0.qkv.weight")
    before = qkv.detach().clone()
    steps(net, optimiser, 0, 1)
    for part in (before - qkv.detach()).chunk(3):
        values = torch.linalg.svdvals(part) / (CONFIG.muon_rate * 0.2 * 8**0.5)
        assert values[3] > 0.5  # a gradient of sixteen samples has few directions
        assert values[0] < 1.3


def test_outside_of_blocks_it_is_adamw() -> None:
    ours, theirs = Net(), Net()
    one, two = make_optimiser(ours, CONFIG), make_optimiser(theirs, replace(CONFIG, muon_rate=0.0))
    assert isinstance(two, torch.optim.AdamW)
    for step in range(3):
        for net, optimiser in ((ours, one), (theirs, two)):
            for i, p in enumerate(net.parameters()):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * step + i))
            optimiser.step()
    for name, p in ours.named_parameters():
        same = torch.equal(p, theirs.get_parameter(name))
        assert same == (not (name.startswith("blocks") and p.ndim == 2)), name


def test_goes_on_from_a_saved_state_bit_for_bit(tmp_path: Path) -> None:
    whole = Net()
    steps(whole, make_optimiser(whole, CONFIG), 0, 6)
    first = Net()
    optimiser, average = make_optimiser(first, CONFIG), Average(first, 0.9)
    steps(first, optimiser, 0, 3)
    save_state(tmp_path, first, average, optimiser, Position(step=3, seconds=1.0, recipe="r"))
    second = Net()
    again = make_optimiser(second, CONFIG)
    assert load_state(tmp_path, second, Average(second, 0.9), again, "r") is not None
    steps(second, again, 3, 6)
    for name, p in second.named_parameters():
        assert torch.equal(p, whole.get_parameter(name)), name
