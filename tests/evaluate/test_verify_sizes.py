"""`tau0 verify` on other sizes than the published files have, made by the slow network, which agrees with the published files itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import slow_network
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tau0.evaluate.setting import TOLERANCES, Precision, Setting, SettingError
from tau0.evaluate.verify import verify_file
from tau0.model.config import ConditioningConfig, ExpertConfig, TrunkConfig, WorldModelConfig
from tau0.model.names import to_published
from tau0.model.published import to_published_shape
from tau0.model.world_model import WorldModel

GOLDEN = Path(__file__).parents[1] / "golden"
SLOW = {"policy": slow_network.policy, "simulator": slow_network.simulator}


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a golden file. Horizon is `group * (frames - 1) + 1`, so that either kind can be made."""

    width: int
    heads: int
    layers: int
    views: int
    dim: int
    group: int
    future: int
    memory: int
    expert: int
    expert_heads: int
    batch: int = 1
    patch: tuple[int, int, int] = (1, 2, 2)
    channels: int = 4
    is_fused: bool = False

    @property
    def horizon(self) -> int:
        return self.group * self.future + 1

    @property
    def shape(self) -> WorldModelConfig:
        trunk = TrunkConfig(
            width=self.width, ffn_width=self.width + 8, num_heads=self.heads, num_layers=self.layers, latent_channels=self.channels,
            text_width=9, text_length=5, patch=self.patch, frequency_width=24, eps=1e-6,
        )  # fmt: skip
        small = ExpertConfig(dim=self.dim, width=self.expert, ffn_width=20, num_heads=self.expert_heads)
        told = ConditioningConfig(action_dim=self.dim, width=2 * self.group * self.expert_heads, group=self.group)
        return WorldModelConfig(
            trunk=trunk,
            action=small,
            conditioning=told,
            progress=ExpertConfig(dim=1, width=told.width, ffn_width=12, num_heads=self.expert_heads),
        )


SIZES = [
    Size(width=24, heads=4, layers=3, views=1, dim=14, group=6, future=1, memory=0, expert=12, expert_heads=3, batch=2),
    Size(width=64, heads=2, layers=1, views=4, dim=3, group=2, future=5, memory=2, expert=40, expert_heads=2, is_fused=True),
    Size(width=36, heads=3, layers=4, views=2, dim=32, group=5, future=3, memory=1, expert=8, expert_heads=1, patch=(1, 1, 2), channels=6),
]


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(kind: str, size: Size) -> dict[str, Tensor]:
    b, memory = size.batch, size.memory if kind == "simulator" else 0
    given = {
        "latents": numbers(b, size.channels, memory + 1 + size.future, 4, 4 * size.views, seed=1),
        "text": numbers(b, 3, 9, seed=2),
        "video_timestep": torch.tensor([812.5, 37.0])[:b],
    }
    if kind == "policy":
        return given | {
            "noisy_actions": numbers(b, size.horizon, size.dim, seed=3),
            "state": numbers(b, 1, size.dim, seed=4),
            "action_timestep": torch.tensor([450.0, 999.0])[:b],
        }
    return given | {
        "actions": numbers(b, size.horizon, size.dim, seed=3),
        "noisy_progress": numbers(b, size.horizon, 1, seed=4),
        "progress_timestep": torch.tensor([128.0, 640.0])[:b],
    }


def random_weights(kind: str, size: Size) -> dict[str, Tensor]:
    """Published names, every number random, norms and biases too."""
    shape = size.shape.policy if kind == "policy" else size.shape.simulator
    with torch.device("meta"):
        ours = WorldModel(shape).state_dict()
    weights: dict[str, Tensor] = {}
    for i, (name, piece) in enumerate(to_published(ours, is_fused=size.is_fused).items()):
        rows, *rest = ours[piece.name].shape
        tensor = numbers(rows if piece.third is None else rows // 3, *rest, seed=100 + i)
        is_matrix = tensor.dim() > 1 and not name.endswith("modulation")
        weights[name] = tensor * tensor[0].numel() ** -0.5 if is_matrix else 0.2 * tensor + ("norm" in name and name.endswith("weight"))
    return weights


def doubled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in tensors.items()}


def golden_file(kind: str, size: Size, folder: Path) -> Path:
    shape = size.shape.policy if kind == "policy" else size.shape.simulator
    config = {**to_published_shape(shape), "views": size.views, "n_mem": size.memory}
    weights, given = random_weights(kind, size), inputs(kind, size)
    outputs = SLOW[kind](doubled(weights), config, doubled(given))
    tensors = {f"weights.{name}": tensor for name, tensor in weights.items()} | {f"in.{name}": tensor for name, tensor in given.items()}
    tensors |= {f"out.{name}": tensor.float().contiguous() for name, tensor in outputs.items()}
    path = folder / f"{kind}.safetensors"
    save_file(tensors, path, {"kind": kind, "config": json.dumps(config)})
    return path


@pytest.mark.parametrize("path", sorted([*GOLDEN.glob("vam_*"), *GOLDEN.glob("acvs_*")]), ids=lambda p: p.stem)
def test_the_slow_network_agrees_with_the_published_system(path: Path) -> None:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata: dict[str, Any] = file.metadata()
    parts = {part: {n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)} for part in ("weights.", "in.", "out.")}
    outputs = SLOW[metadata["kind"]](doubled(parts["weights."]), json.loads(metadata["config"]), doubled(parts["in."]))
    assert outputs.keys() == parts["out."].keys()
    for name, expected in parts["out."].items():
        assert float((outputs[name] - expected).abs().max() / expected.abs().max()) < 1e-5, name


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s.views}views{s.dim}dims{s.horizon}steps")
@pytest.mark.parametrize("kind", ["policy", "simulator"])
def test_other_sizes_pass(kind: str, size: Size, tmp_path: Path) -> None:
    checks = verify_file(golden_file(kind, size, tmp_path))
    assert {"video", "action" if kind == "policy" else "progress"} <= {check.output for check in checks}
    assert all(check.passed for check in checks), checks


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_passes_within_its_own_tolerance(precision: Precision) -> None:
    """And not within that of float32, so that it is known to have been used."""
    for path in (GOLDEN / "vam_two_views.safetensors", GOLDEN / "acvs_whole_body.safetensors"):
        checks = verify_file(path, Setting(precision=precision))
        assert all(check.passed and check.tolerance == TOLERANCES[precision] for check in checks), checks
        assert all(check.error > TOLERANCES["float32"] for check in checks)


def test_half_precision_still_finds_a_wrong_network(tmp_path: Path) -> None:
    """Rows of one head's output swapped: small, and everywhere."""
    with safe_open(GOLDEN / "vam_two_views.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        name = "weights.action_blocks.1.self_attn.o.weight"
        save_file({**tensors, name: tensors[name].flip(0)}, tmp_path / "wrong.safetensors", file.metadata())
    failed = [check.output for check in verify_file(tmp_path / "wrong.safetensors", Setting(precision="bfloat16")) if not check.passed]
    assert "action" in failed


def test_compiled_blocks_compute_the_same(tmp_path: Path) -> None:
    """Traced and run without code generation, which takes minutes on a CPU."""
    torch.compiler.reset()
    checks = verify_file(golden_file("simulator", SIZES[1], tmp_path), Setting(compiler="eager"))
    assert all(check.passed for check in checks), checks
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 2
    torch.compiler.reset()


def test_schedules_of_other_lengths_and_shifts_pass(tmp_path: Path) -> None:
    """Euler by a loop over plain numbers, shifted twice as released."""
    k, x0 = 2.5, numbers(2, 3, seed=0)
    tensors = {"initial": x0}
    for n in (1, 3, 40):
        sigmas = [1 - i / n for i in range(n + 1)]
        for _ in range(2):
            sigmas = [k * u / (1 + (k - 1) * u) for u in sigmas]
        x = x0.double()
        for sigma, after in itertools.pairwise(sigmas):
            x = x + (after - sigma) * ((3 * x).sin() + (0.5 - sigma) * x)
        name = f"euler.shift{k}.steps{n}"
        tensors |= {
            f"{name}.sigmas": torch.tensor(sigmas),
            f"{name}.timesteps": 1000 * torch.tensor(sigmas[:-1]),
            f"{name}.final": x.float(),
        }
    path = tmp_path / "schedules.safetensors"
    save_file(tensors, path, {"kind": "schedules", "velocity": "sin(3 x) + (0.5 - sigma) x"})
    checks = verify_file(path)
    assert len(checks) == 9
    assert all(check.passed for check in checks), checks


def test_schedules_and_labels_do_not_depend_on_the_setting() -> None:
    for name in ("flow_schedules", "progress_labels", "end_effector_actions"):
        path = GOLDEN / f"{name}.safetensors"
        assert verify_file(path, Setting(precision="bfloat16")) == verify_file(path)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingError, match="device 'cuda:99' cannot be used"):
        verify_file(GOLDEN / "progress_labels.safetensors", Setting(device="cuda:99"))
    with pytest.raises(SettingError, match="device 'cpux' cannot be used"):
        Setting(device="cpux").check()
