"""Back into published form: what came in goes out, name by name and bit by bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published import POLICY, POLICY_SIZES, SHAPE, SIMULATOR, SIMULATOR_SIZES, autoencoder_tensors, contract
from safetensors.torch import load_file, save_file
from torch import Tensor

from tau0.checkpoint import CheckpointError
from tau0.convert.checkpoint_folder import Sources, plan_checkpoint
from tau0.convert.published_folder import Form, plan_export
from tau0.convert.sources import open_source
from tau0.model.names import from_published
from tau0.model.published import from_published_shape, to_published_shape

WEIGHTS = "diffusion_pytorch_model.safetensors"
ONE_FILE = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two models, "two", and one of one model, "one"."""
    root = tmp_path_factory.mktemp("converted")
    for name, tensors in {"policy": POLICY, "simulator": SIMULATOR, "autoencoder": autoencoder_tensors()}.items():
        save_file(tensors, root / f"{name}.safetensors")
    sources = Sources(policy=open_source(root / "policy.safetensors"), simulator=open_source(root / "simulator.safetensors"))
    for name in ("one", "two"):
        conversion = plan_checkpoint(sources, contract(), SHAPE, is_unified=name == "one", autoencoder=root / "autoencoder.safetensors")
        conversion.write(root / name)
    return root


def equal(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return ours.keys() == expected.keys() and all(torch.equal(ours[name], expected[name]) for name in ours)


@pytest.mark.parametrize("shard_bytes", [ONE_FILE, 30_000])
@pytest.mark.parametrize(("form", "is_fused", "expected"), [("policy", False, POLICY), ("simulator", True, SIMULATOR)])
def test_there_and_back_changes_nothing(
    folder: Path, tmp_path: Path, form: Form, is_fused: bool, expected: dict[str, Tensor], shard_bytes: int
) -> None:
    plan_export(folder / "two", form, is_fused=is_fused).write(tmp_path / "out", shard_bytes)
    source = open_source(tmp_path / "out")
    assert equal({name: source.read(name) for name in source.shapes}, expected)
    assert (tmp_path / "out" / f"{WEIGHTS}.index.json").exists() == (shard_bytes < ONE_FILE)
    sizes = POLICY_SIZES if form == "policy" else SIMULATOR_SIZES
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {name: sizes[name] for name in written} == written
    assert from_published_shape(written) == from_published_shape(sizes)


def test_q_k_v_fused_or_separate_mean_the_same(folder: Path, tmp_path: Path) -> None:
    forms: tuple[tuple[Form, dict[str, Tensor]], ...] = (("policy", POLICY), ("simulator", SIMULATOR))
    for form, tensors in forms:
        for is_fused in (True, False):
            plan_export(folder / "two", form, is_fused=is_fused).write(tmp_path / form, ONE_FILE)
            written = load_file(tmp_path / form / WEIGHTS)
            assert any(".self_attn.qkv." in name for name in written) == is_fused
            assert any(".self_attn.q." in name for name in written) != is_fused
            assert equal(from_published(written), from_published(tensors))


@pytest.mark.parametrize("form", ["wan", "diffusers"])
def test_the_trunk_alone(folder: Path, tmp_path: Path, form: Form) -> None:
    export = plan_export(folder / "one", form)
    export.write(tmp_path / "out", ONE_FILE)
    written = load_file(tmp_path / "out" / WEIGHTS)
    trunk = {name: tensor for name, tensor in from_published(POLICY).items() if name.startswith("trunk.")}
    assert equal(from_published(written), trunk)
    assert {name.split(".")[0] for name in export.left} == {"action_expert", "conditioning", "progress_expert"}
    sizes = json.loads((tmp_path / "out" / "config.json").read_text())
    if form == "diffusers":
        assert "blocks.0.attn1.to_q.weight" in written
        assert (sizes["_class_name"], sizes["attention_head_dim"], sizes["num_layers"]) == ("WanTransformer3DModel", 16, 2)
    else:
        assert equal(written, {name: tensor for name, tensor in POLICY.items() if not name.startswith("action_")})


def test_one_model_goes_back_to_two(folder: Path, tmp_path: Path) -> None:
    """The simulator then stands on the policy's trunk."""
    forms: tuple[Form, ...] = ("policy", "simulator")
    for form in forms:
        plan_export(folder / "one", form, is_fused=True).write(tmp_path / form, ONE_FILE)
    assert equal(from_published(load_file(tmp_path / "policy" / WEIGHTS)), from_published(POLICY))
    ours = from_published(load_file(tmp_path / "simulator" / WEIGHTS))
    expected = {**from_published(SIMULATOR), **{n: t for n, t in from_published(POLICY).items() if n.startswith("trunk.")}}
    assert equal(ours, expected)


def test_types_may_change_on_the_way_out(folder: Path, tmp_path: Path) -> None:
    plan_export(folder / "one", "wan", dtype=torch.bfloat16).write(tmp_path / "out", ONE_FILE)
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / WEIGHTS).values()} == {torch.bfloat16}


def test_what_a_checkpoint_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    sources = Sources(policy=open_source(folder / "policy.safetensors"))
    plan_checkpoint(sources, contract(), SHAPE, autoencoder=folder / "autoencoder.safetensors").write(tmp_path / "policy")
    with pytest.raises(CheckpointError, match="no conditioning and no progress_expert, a published simulator has"):
        plan_export(tmp_path / "policy", "simulator")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        plan_export(tmp_path, "policy")
    (tmp_path / "policy" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        plan_export(tmp_path / "policy", "policy")


def test_sizes_there_and_back() -> None:
    assert from_published_shape(to_published_shape(SHAPE)) == SHAPE
    assert SHAPE.progress is not None
    with pytest.raises(ValueError, match="one width for both"):
        to_published_shape(replace(SHAPE, progress=replace(SHAPE.progress, width=16)))
