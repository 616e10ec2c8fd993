"""Finding an OpenGL: the user's choice is respected, and a machine without one gets a sentence that helps."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tau0.worlds import rendering

CHOOSE = "import os; from tau0.worlds.rendering import choose_backend; print(choose_backend(), os.environ['MUJOCO_GL'])"


def chosen(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CHOOSE], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems draw natively")
def test_one_is_chosen_and_kept_for_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    import os

    name, variable = chosen(dict(os.environ)).stdout.split()
    assert name == variable
    assert name in ("egl", "osmesa")


def test_the_users_choice_is_respected() -> None:
    assert chosen({"MUJOCO_GL": "osmesa"}).stdout.split() == ["osmesa", "osmesa"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems draw natively")
def test_a_machine_without_opengl_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_PROBE", "raise SystemExit(1)")
    rendering.choose_backend.cache_clear()
    with pytest.raises(rendering.RenderingUnavailableError, match=r"apt-get install libegl1 libosmesa6"):
        rendering.choose_backend()
    rendering.choose_backend.cache_clear()


def test_a_choice_that_cannot_be_loaded_is_a_sentence() -> None:
    load = [sys.executable, "-c", "from tau0.worlds.rendering import load_mujoco; load_mujoco()"]
    done = subprocess.run(load, env={"MUJOCO_GL": "bogus"}, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "RenderingUnavailableError: MuJoCo cannot draw with MUJOCO_GL=bogus" in last
    assert "unset it to have one chosen" in last
