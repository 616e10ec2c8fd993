from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tau0.evaluate.verify import GoldenFileError, verify_file

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.safetensors"))


def test_every_kind_of_golden_file_is_here():
    assert len(GOLDEN) == 7


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_agrees_with_the_published_system(path: Path):
    checks = verify_file(path)
    assert len(checks) >= 2
    assert all(c.passed for c in checks), [c for c in checks if not c.passed]


@pytest.mark.parametrize(
    ("name", "output"),
    [("vam_two_views", "out.action"), ("acvs_two_views", "out.progress"), ("flow_schedules", "unipc.shift5.steps5.final")],
)
def test_a_small_difference_is_found(name: str, output: str, tmp_path: Path):
    source = next(p for p in GOLDEN if p.stem == name)
    with safe_open(source, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        tensors[output] = tensors[output] * (1 + 3e-5)
        save_file(tensors, tmp_path / "changed.safetensors", file.metadata())
    failed = [c.output for c in verify_file(tmp_path / "changed.safetensors") if not c.passed]
    assert failed == [output.removeprefix("out.")]


def test_what_is_not_a_golden_file_is_named(tmp_path: Path):
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(GoldenFileError, match=r"text\.safetensors: cannot be read"):
        verify_file(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"kind": "poem"})
    with pytest.raises(GoldenFileError, match="kind='poem'"):
        verify_file(tmp_path / "other.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "empty.safetensors", {"kind": "progress_labels"})
    with pytest.raises(GoldenFileError, match=r"needs 'aligned\.sample_indices'"):
        verify_file(tmp_path / "empty.safetensors")
    save_file({"initial": torch.zeros(1)}, tmp_path / "none.safetensors", {"kind": "schedules", "velocity": "sin(3 x) + (0.5 - sigma) x"})
    with pytest.raises(GoldenFileError, match="at least one output"):
        verify_file(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", {"kind": "policy", "config": "not JSON"})
    with pytest.raises(GoldenFileError, match="not a whole file of kind 'policy'"):
        verify_file(tmp_path / "odd.safetensors")
