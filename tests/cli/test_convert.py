"""`tau0 convert` as a user would call it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tau0.checkpoint import load, save
from tau0.cli import run
from tau0.cli.errors import FAILED
from tau0.model.text import SentenceEncoder
from tiny import tiny_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "vam_two_views.safetensors"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def outcome(*arguments: str | Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = run([str(a) for a in arguments], Console(file=out, width=120), Console(file=err, width=120))
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def policy(tmp_path: Path) -> dict[str, Tensor]:
    """A published policy with its sizes, contract and autoencoder, in the current folder."""
    with safe_open(GOLDEN, "pt") as file:
        sizes: dict[str, Any] = json.loads(file.metadata()["config"])
        weights = {n.removeprefix("weights."): file.get_tensor(n) for n in file.keys() if n.startswith("weights.")}  # noqa: SIM118
    names = [f"joint_{i}" for i in range(7)]
    statistics = {"mean": [0.0] * 7, "std": [1.0] * 7}
    fields = {
        "name": "converted",
        "embodiment": {
            "name": "arm", "cameras": [{"name": "front", "height": 32, "width": 32}], "state_names": names,
            "action": {"names": names, "low": [-1.0] * 7, "high": [1.0] * 7}, "control_hz": 30.0, "action_horizon": 9, "frame_stride": 4,
        },
        "codec": {}, "autoencoder": {"latent_channels": 4, "stride": 8, "width": 8}, "text": SentenceEncoder(sizes["text_len"]).identity,
    }  # fmt: skip
    from tau0.model.autoencoder import Autoencoder, AutoencoderConfig

    save_file(Autoencoder(AutoencoderConfig(latent_channels=4, stride=8, width=8)).state_dict(), tmp_path / "autoencoder.safetensors")
    save_file(weights, tmp_path / "policy.safetensors")
    for name, content in {"sizes": sizes, "contract": fields, "statistics": {"action": statistics, "state": statistics}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return weights


COMMAND = (
    "convert", "from-published", "--policy", "policy.safetensors", "--contract", "contract.json", "--statistics", "statistics.json",
    "--shape", "sizes.json", "--autoencoder", "autoencoder.safetensors", "--out", "checkpoint",
)  # fmt: skip


def test_there_and_back(policy: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = outcome(*COMMAND)
    assert (status, err) == (0, "")
    assert "model.safetensors" in out
    assert "checkpoint: written" in out
    assert load(Path("checkpoint")).config.name == "converted"
    status, out, err = outcome("convert", "to-published", "checkpoint", "--form", "policy", "--out", "back")
    assert (status, err) == (0, "")
    assert f"{len(policy)} tensors" in out
    back = load_file(Path("back") / WEIGHTS)
    assert back.keys() == policy.keys()
    assert all(torch.equal(back[name], policy[name]) for name in policy)


def test_nothing_is_replaced_unasked(policy: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    assert outcome(*COMMAND)[0] == 0
    status, _, err = outcome(*COMMAND)
    assert (status, "say --replace" in err) == (FAILED, True)
    assert outcome(*COMMAND, "--replace")[0] == 0
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("")
    status, _, err = outcome(*COMMAND[:-1], "precious", "--replace")
    assert (status, "is not what would be written" in err) == (FAILED, True)
    assert (tmp_path / "precious" / "thesis.tex").exists()
    status, _, err = outcome("convert", "to-published", "checkpoint", "--form", "policy", "--out", "checkpoint", "--replace")
    assert (status, "checkpoint holds checkpoint, which is read" in err) == (FAILED, True)
    assert load(Path("checkpoint")).config.name == "converted"


def test_every_name_is_said(policy: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("blocks.0.norm3.bias", "action_proj_in.weight"):
        del policy[name]
    save_file(policy, "policy.safetensors")
    status, out, err = outcome(*COMMAND)
    assert (status, out) == (FAILED, "")
    assert "missing trunk.blocks.0.cross_norm.bias" in err
    assert "missing action_expert.proj_in.weight" in err
    assert not Path("checkpoint").exists()


def test_encoders_that_are_nowhere_are_asked_for(
    policy: dict[str, Tensor],  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAU0_WAN", raising=False)
    fields = json.loads(Path("contract.json").read_text())
    Path("contract.json").write_text(json.dumps({name: value for name, value in fields.items() if name != "text"}))
    status, out, err = outcome(*COMMAND)
    assert (status, out) == (FAILED, "")
    assert "set TAU0_WAN" in err
    status, out, err = outcome(*COMMAND, "--encoders", "nowhere")
    assert (status, out) == (FAILED, "")
    assert "nowhere" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("from-published", "--out", "o"), "give --policy, --simulator or both, or --trunk alone"),
        (("from-published", "--out", "o", "--trunk", "nowhere.safetensors"), "neither a file nor a folder"),
        (("to-published", "nowhere", "--form", "wan", "--out", "o"), "nowhere is not a checkpoint"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    status, out, err = outcome("convert", *arguments)
    assert (status, out) == (FAILED, "")
    assert said in err


@pytest.mark.parametrize(
    ("size", "value", "said"),
    [
        ("num_heads", 0, "sizes.json: num_heads is 0, expected a whole number of at least 1"),
        ("num_heads", 5, "sizes.json: width 32 cannot be shared out among num_heads 5"),
        ("dim", "wide", "sizes.json: width is 'wide', expected a whole number"),
        ("patch_size", [1, 2], "sizes.json: patch is (1, 2), expected three numbers"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    policy: dict[str, Tensor],  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: str,
    value: object,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = Path("sizes.json")
    sizes.write_text(json.dumps(json.loads(sizes.read_text()) | {size: value}))
    status, out, err = outcome(*COMMAND)
    assert (status, out) == (FAILED, "")
    assert said in err
    assert not Path("checkpoint").exists()


def test_a_trained_checkpoint_goes_out_as_a_simulator(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    save(checkpoint, tmp_path / "tiny")
    status, _, err = outcome("convert", "to-published", tmp_path / "tiny", "--form", "policy", "--fused", "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    written = load_file(tmp_path / "out" / WEIGHTS)
    assert torch.equal(written["blocks.0.self_attn.qkv.weight"], checkpoint.model.trunk.blocks[0].get_parameter("self_attn.qkv.weight"))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["action_in_dim"] == 4
