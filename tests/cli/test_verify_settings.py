"""`tau0 verify` with a device, a dtype, compiled: as a user would call it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from tau0.cli import run
from tau0.cli.errors import FAILED

GOLDEN = Path(__file__).parents[1] / "golden" / "vam_two_views.safetensors"


def outcome(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = run(["verify", str(GOLDEN), *arguments], Console(file=out, width=120), Console(file=err, width=120))
    return status, out.getvalue(), err.getvalue()


def test_the_setting_is_said_with_its_tolerance() -> None:
    status, out, err = outcome()
    assert (status, err) == (0, "")
    assert "Networks on cpu, float32." in out
    assert "1.0e-05" in out
    status, out, err = outcome("--dtype", "bfloat16", "--device", "cpu")
    assert (status, err) == (0, "")
    assert "Networks on cpu, bfloat16." in out
    assert "0 beyond tolerance" in out
    assert "2.5e-01" in out


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    status, out, err = outcome("--device", "cuda:99")
    assert (status, out) == (FAILED, "")
    assert "device 'cuda:99' cannot be used" in err
    assert err.count("\n") == 1


def test_a_folder_is_not_a_file() -> None:
    status, out, err = outcome(str(GOLDEN.parent))
    assert (status, out) == (FAILED, "")
    assert f"name its files, {GOLDEN.parent}/*.safetensors" in err
