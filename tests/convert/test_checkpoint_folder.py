"""Published weights into a checkpoint folder: every tensor arrives, and whatever does not fit is named."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published import AUTOENCODER, DIM, POLICY, SHAPE, SIMULATOR, autoencoder_tensors, contract, contract_fields
from safetensors.torch import load_file, save_file
from torch import Tensor

from tau0.checkpoint import MODEL_NAME, SIMULATOR_NAME, CheckpointError, config_from_json, load
from tau0.convert.checkpoint_folder import Conversion, Sources, plan_checkpoint
from tau0.convert.contract import read_contract
from tau0.convert.plan import Plan
from tau0.convert.sources import open_source
from tau0.model.autoencoder import Autoencoder
from tau0.model.names import from_published, to_diffusers, to_published
from tau0.model.wan_vae import WanAutoencoderConfig
from tau0.model.weights import Shape, WeightsError
from tau0.model.world_model import WorldModel
from tau0.presets import wan5b

TRUNK = {name: tensor for name, tensor in POLICY.items() if not name.startswith("action_")}
EXPERTS = ("action_expert", "conditioning", "progress_expert")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with all files."""
    files = {"policy": POLICY, "simulator": SIMULATOR, "trunk": TRUNK, "autoencoder": autoencoder_tensors()}
    for name, tensors in files.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    return tmp_path


def plan(weights: Path, *names: str, **arguments: Any) -> Conversion:
    sources = Sources(**{name: open_source(weights / f"{name}.safetensors") for name in names})
    arguments = {"contract": contract(), "shape": SHAPE, "autoencoder": weights / "autoencoder.safetensors", **arguments}
    return plan_checkpoint(sources, **arguments)


def equal(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return ours.keys() == expected.keys() and all(torch.equal(ours[name], expected[name]) for name in ours)


def part(tensors: Mapping[str, Tensor], *parts: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.split(".")[0] in parts}


def test_a_policy_and_a_simulator_are_two_models_of_one_checkpoint(weights: Path) -> None:
    plan(weights, "policy", "simulator").write(weights / "out")
    loaded = load(weights / "out")
    assert equal(loaded.model.state_dict(), from_published(POLICY))
    assert equal(loaded.simulator.state_dict(), from_published(SIMULATOR))
    assert equal(loaded.autoencoder.state_dict(), load_file(weights / "autoencoder.safetensors"))
    assert loaded.config.codec.reference == "relative"


@pytest.mark.parametrize(("name", "tensors"), [("policy", POLICY), ("simulator", SIMULATOR)])
def test_either_stands_alone(weights: Path, name: str, tensors: dict[str, Tensor]) -> None:
    plan(weights, name).write(weights / "out")
    assert equal(load(weights / "out").model.state_dict(), from_published(tensors))
    assert not (weights / "out" / SIMULATOR_NAME).exists()


def test_one_model_on_the_policys_trunk_with_the_simulators_experts(weights: Path) -> None:
    conversion = plan(weights, "policy", "simulator", is_unified=True)
    conversion.write(weights / "out")
    expected = from_published(POLICY) | part(from_published(SIMULATOR), "conditioning", "progress_expert")
    loaded = load(weights / "out")
    assert loaded.simulator is loaded.model
    assert equal(loaded.model.state_dict(), expected)
    left = conversion.plans[MODEL_NAME].left
    assert {Path(source).name for source in left} == {"simulator.safetensors"}
    assert {name for names in left.values() for name in names} == SIMULATOR.keys() & {
        *TRUNK,
        *(name for name in SIMULATOR if name.startswith("blocks.")),
    }


def test_a_policy_becomes_one_model_when_the_simulators_parts_start_anew(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing conditioning \(all 12 tensors\)\n.*missing progress_expert \(all \d+ tensors\)"):
        plan(weights, "policy", is_unified=True)
    conversion = plan(weights, "policy", is_unified=True, reinitialise=("conditioning", "progress_expert"))
    assert conversion.plans[MODEL_NAME].new_parts == ("conditioning (all 12 tensors)", "progress_expert (all 57 tensors)")
    conversion.write(weights / "out")
    loaded = load_file(weights / "out" / MODEL_NAME)
    assert equal(part(loaded, "trunk", "action_expert"), from_published(POLICY))
    assert not bool(loaded["progress_expert.head.proj.weight"].any())
    assert bool((loaded["progress_expert.blocks.1.cross_norm.weight"] == 1).all())


def diffusers_tensors() -> dict[str, Tensor]:
    ours = from_published(TRUNK)
    pieces = to_diffusers(ours)
    return {name: (ours[p.name] if p.third is None else ours[p.name].chunk(3)[p.third]).contiguous() for name, p in pieces.items()}


@pytest.mark.parametrize("wrapper", ["", "model.diffusion_model."])
@pytest.mark.parametrize("naming", ["original", "diffusers"])
def test_training_starts_from_a_trunk_alone(weights: Path, naming: str, wrapper: str) -> None:
    tensors = TRUNK if naming == "original" else diffusers_tensors()
    save_file({wrapper + name: tensor for name, tensor in tensors.items()}, weights / "trunk.safetensors")
    plan(weights, "trunk", reinitialise=EXPERTS).write(weights / "out")
    model = load_file(weights / "out" / MODEL_NAME)
    assert equal(part(model, "trunk"), from_published(TRUNK))
    assert {name.split(".")[0] for name in model} == {"trunk", *EXPERTS}


def test_what_starts_anew_follows_the_seed(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"(?s)missing action_expert.*missing conditioning.*missing progress_expert.*--reinitialise"):
        plan(weights, "trunk")
    models = []
    for seed in (1, 1, 2):
        plan(weights, "trunk", reinitialise=EXPERTS, seed=seed).write(weights / "out")
        models.append(load_file(weights / "out" / MODEL_NAME))
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])
    weight = models[0]["action_expert.blocks.0.ffn.0.weight"]
    assert abs(float(weight.std()) * ((16 + 24) / 2) ** 0.5 - 1) < 0.2


def test_every_tensor_that_does_not_fit_is_named(weights: Path) -> None:
    tensors = dict(POLICY)
    del tensors["action_blocks.1.ffn.0.bias"]
    tensors["action_blocks.1.fnn.0.bias"] = torch.zeros(24)
    tensors["blocks.0.norm3.weight"] = torch.zeros(33)
    save_file(tensors, weights / "policy.safetensors")
    with pytest.raises(WeightsError) as error:
        plan(weights, "policy")
    said = str(error.value)
    assert str(weights / "policy.safetensors") in said
    assert "missing action_expert.blocks.1.ffn.0.bias (did you mean action_expert.blocks.1.fnn.0.bias?)" in said
    assert "foreign action_blocks.1.fnn.0.bias" in said
    assert "trunk.blocks.0.cross_norm.weight is (33,), expected (32,) (blocks.0.norm3.weight in the file)" in said


def test_q_k_v_must_be_together_and_alike(weights: Path) -> None:
    without = {name: tensor for name, tensor in POLICY.items() if name != "blocks.1.self_attn.k.weight"}
    save_file(without, weights / "policy.safetensors")
    with pytest.raises(WeightsError, match=r"missing trunk\.blocks\.1\.self_attn\.k\.weight"):
        plan(weights, "policy")
    save_file({**POLICY, "blocks.1.self_attn.k.weight": torch.zeros(16, 32)}, weights / "policy.safetensors")
    with pytest.raises(WeightsError, match=r"qkv\.weight is blocks\.1.* blocks\.1\.self_attn\.k\.weight \(16, 32\).* expected \(96, 32\)"):
        plan(weights, "policy")
    save_file({**POLICY, "blocks.1.self_attn.qkv.bias": torch.zeros(96)}, weights / "policy.safetensors")
    with pytest.raises(WeightsError, match=r"trunk\.blocks\.1\.self_attn\.qkv\.bias is there fused and separate"):
        plan(weights, "policy")


def test_one_kind_of_checkpoint_is_not_taken_for_another(weights: Path) -> None:
    save_file(SIMULATOR, weights / "policy.safetensors")
    with pytest.raises(WeightsError, match=r"(?s)missing action_expert \(all 57 tensors\).*foreign conditioning \(all 12 tensors\)"):
        plan(weights, "policy")
    with pytest.raises(WeightsError, match="a trunk alone"):
        plan(weights, "policy", "trunk")


def robot_with(dim: int) -> dict[str, Any]:
    fields = contract_fields()
    names = [f"joint_{i}" for i in range(dim)]
    fields["embodiment"] |= {"state_names": names, "action": {"names": names, "low": [-1.0] * dim, "high": [1.0] * dim}}
    fields["codec"] |= {name: {"mean": [0.0] * dim, "std": [1.0] * dim} for name in ("action", "state")} | {"grippers": []}
    return fields


def test_a_new_embodiments_heads_are_named_or_refused(weights: Path) -> None:
    other = replace(contract(), fields=robot_with(14))
    with pytest.raises(WeightsError) as error:
        plan(weights, "policy", contract=other)
    for name in (
        "action_expert.proj_in.weight is (16, 7), expected (16, 14)",
        "action_expert.head.proj.weight is (7, 16), expected (14, 16)",
    ):
        assert name in str(error.value)
    with pytest.raises(WeightsError, match=r"nothing called action_expert\.haed \(did you mean action_expert\.head\?\)"):
        plan(weights, "policy", contract=other, reinitialise=("action_expert.proj_in", "action_expert.haed"))
    heads = ("action_expert.proj_in", "action_expert.head.proj")
    conversion = plan(weights, "policy", contract=other, reinitialise=heads)
    assert conversion.plans[MODEL_NAME].reinitialised == tuple(
        f"action_expert.{name}" for name in ("head.proj.bias", "head.proj.weight", "proj_in.bias", "proj_in.weight")
    )
    conversion.write(weights / "out")
    model = load_file(weights / "out" / MODEL_NAME)
    assert model["action_expert.proj_in.weight"].shape == (16, 14)
    kept = {name: tensor for name, tensor in from_published(POLICY).items() if not name.startswith(heads)}
    assert equal({name: model[name] for name in kept}, kept)


def test_names_to_reinitialise_reach_the_model_they_belong_to(weights: Path) -> None:
    other = replace(contract(), fields=robot_with(14))
    heads = ("action_expert.proj_in", "action_expert.head.proj", "conditioning.step.0")
    plans = plan(weights, "policy", "simulator", contract=other, reinitialise=heads).plans
    assert len(plans[MODEL_NAME].reinitialised) == 4
    assert plans[SIMULATOR_NAME].reinitialised == ("conditioning.step.0.bias", "conditioning.step.0.weight")
    with pytest.raises(WeightsError, match=r"nothing called action_head \(did you mean"):
        plan(weights, "policy", "simulator", reinitialise=("action_head",))


def test_a_simulator_is_told_the_held_numbers_too(weights: Path) -> None:
    wide = {"action": {"mean": [0.0] * 9, "std": [1.0] * 9}, "state": contract_fields()["codec"]["state"], "grippers": [6, 7, 8]}
    told = contract(simulator_actions={"codec": wide, "held": [0.5, 0.0]})
    conversion = plan(weights, "policy", "simulator", is_unified=True, contract=told, reinitialise=("conditioning.step.0",))
    assert conversion.config.model.action == SHAPE.action
    assert conversion.config.model.conditioning is not None
    assert conversion.config.model.conditioning.action_dim == DIM + 2
    assert plan(weights, "policy", contract=told).config.simulator_actions is None
    with pytest.raises(CheckpointError, match=r"simulator_actions\.codec\.action\.mean is for 9, actions and held numbers for 8"):
        plan(weights, "simulator", contract=contract(simulator_actions={"codec": wide, "held": [0.5]}))


def test_types_are_kept_or_changed_for_all(weights: Path) -> None:
    save_file({name: tensor.bfloat16() for name, tensor in TRUNK.items()}, weights / "trunk.safetensors")
    plan(weights, "trunk", reinitialise=EXPERTS).write(weights / "kept")
    assert {tensor.dtype for tensor in load_file(weights / "kept" / MODEL_NAME).values()} == {torch.bfloat16}
    plan(weights, "trunk", reinitialise=EXPERTS, dtype=torch.float32).write(weights / "float32")
    assert {tensor.dtype for tensor in load_file(weights / "float32" / MODEL_NAME).values()} == {torch.float32}


def test_a_disk_that_is_full_leaves_what_was_there(weights: Path) -> None:
    conversion = plan(weights, "policy")
    conversion.write(weights / "out")
    before = {path.name: path.read_bytes() for path in (weights / "out").iterdir()}
    first, *others = conversion.plans[MODEL_NAME].tensors

    def full() -> Tensor:
        raise OSError(errno.ENOSPC, "no space left on device")

    broken = Plan(tensors=(*others, replace(first, make=full)))
    with pytest.raises(OSError, match=f"No space left on device: '{weights / 'out'}'"):
        replace(conversion, plans={MODEL_NAME: broken}).write(weights / "out")
    assert {path.name: path.read_bytes() for path in (weights / "out").iterdir()} == before
    assert not [path for path in weights.iterdir() if path.name.startswith(".out")]


def test_the_autoencoder_is_asked_for_and_checked(weights: Path) -> None:
    with pytest.raises(CheckpointError, match="--autoencoder"):
        plan(weights, "policy", autoencoder=None)
    save_file({"mean": torch.zeros(4)}, weights / "autoencoder.safetensors")
    with pytest.raises(WeightsError, match=r"missing std"):
        plan(weights, "policy")


def test_published_encoders_are_named_and_not_carried(weights: Path) -> None:
    encoders = contract(autoencoder=None, text=None)
    assert not encoders.names_encoders
    wan = WanAutoencoderConfig(identity="wan vae 0123456789abcdef", latent_channels=4, stride=(4, 16, 16))
    encoders = encoders.with_encoders(wan, "umt5 0123456789abcdef")
    conversion = plan(weights, "policy", contract=encoders, autoencoder=None)
    conversion.write(weights / "out")
    assert sorted(path.name for path in (weights / "out").iterdir()) == ["config.json", MODEL_NAME]
    config = config_from_json((weights / "out" / "config.json").read_bytes())
    assert (config.autoencoder, config.text) == (wan, "umt5 0123456789abcdef")
    with pytest.raises(CheckpointError, match="is not needed"):
        plan(weights, "policy", contract=encoders)


class Published:
    """The names and shapes of the published policy or simulator, without a byte of it."""

    def __init__(self, name: str) -> None:
        shape = wan5b().model
        with torch.device("meta"):
            ours = WorldModel(shape.policy if name == "policy" else shape.simulator).state_dict()
        pieces = to_published(ours, is_fused=name == "simulator")
        thirds = {theirs: 1 if p.third is None else 3 for theirs, p in pieces.items()}
        self.path = Path(name)
        self.shapes: Mapping[str, Shape] = {n: (ours[p.name].shape[0] // thirds[n], *ours[p.name].shape[1:]) for n, p in pieces.items()}
        self.dtypes: Mapping[str, torch.dtype] = dict.fromkeys(pieces, torch.bfloat16)

    def read(self, name: str) -> Tensor:
        raise AssertionError(f"{name} was read while planning")


def test_the_published_size_is_planned_without_reading_it(tmp_path: Path) -> None:
    """11 GB and 12 GB of bfloat16, to the last parameter."""
    given = {**contract_fields(), **{name: value for name, value in read_contract("published").fields.items() if name != "name"}}
    statistics = {"mean": [0.0] * 20, "std": [1.0] * 20}
    given["codec"] = {**given["codec"], "action": statistics, "state": statistics}
    wide = {"mean": [0.0] * 26, "std": [1.0] * 26}
    given["simulator_actions"]["codec"] |= {"action": wide, "state": statistics}
    given["autoencoder"]["latent_channels"] = 48
    autoencoder = tmp_path / "autoencoder.safetensors"
    save_file(Autoencoder(replace(AUTOENCODER, latent_channels=48)).state_dict(), autoencoder)
    sources = Sources(policy=Published("policy"), simulator=Published("simulator"))
    assert sources.simulator is not None
    published_trunk = [name for name in sources.simulator.shapes if not name.startswith(("act_cond_", "reward_"))]
    plans = plan_checkpoint(sources, replace(contract(), fields=given), wan5b().model, is_unified=True, autoencoder=autoencoder).plans
    assert plans[MODEL_NAME].num_bytes == 2 * 6_463_740_245
    assert len(plans[MODEL_NAME].left["simulator"]) == len(published_trunk)
