"""Off-screen pictures from MuJoCo: finds an OpenGL that works here, and keeps one renderer open at a time."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tau0.contract import Pixels

_PROBE = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current(); context.free()"


class RenderingUnavailableError(RuntimeError):
    """No OpenGL implementation on this machine can draw without a screen."""


@cache
def choose_backend() -> str:
    """Sets `MUJOCO_GL` to an OpenGL that works without a screen, and returns its name; must run before `mujoco` is imported.

    A `MUJOCO_GL` that the user has set is respected. Otherwise EGL is tried, then OSMesa, each in a process of its own because
    MuJoCo decides once, when it is imported.

    Raises:
        ModuleNotFoundError: MuJoCo itself is not installed.
        RenderingUnavailableError: Neither works. The message names what to install.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")
    os.environ.setdefault("LP_NUM_THREADS", "1")  # at these sizes the software renderer is faster with one thread
    if "MUJOCO_GL" in os.environ or sys.platform != "linux":
        return os.environ.get("MUJOCO_GL", "native")
    for name in ("egl", "osmesa"):
        probe = subprocess.run([sys.executable, "-c", _PROBE], env={**os.environ, "MUJOCO_GL": name}, capture_output=True, check=False)
        if probe.returncode == 0:
            os.environ["MUJOCO_GL"] = name
            return name
    raise RenderingUnavailableError(
        "MuJoCo can draw neither with EGL nor with OSMesa here; on Debian run: apt-get install libegl1 libosmesa6 (then try again, "
        "or set MUJOCO_GL to an OpenGL that works)"
    )


def load_mujoco() -> Any:
    """The `mujoco` module, imported after an OpenGL was chosen. It is compiled and has no types.

    Raises:
        RenderingUnavailableError: No OpenGL here draws without a screen.
    """
    choose_backend()
    return _opened(lambda: importlib.import_module("mujoco"))  # which loads the OpenGL that MUJOCO_GL names


@dataclass(frozen=True, kw_only=True)
class View:
    """One camera of a scene.

    Attributes:
        name: The contract's name of the camera.
        place: What the renderer takes: the name of a camera in the model, or a free `mujoco.MjvCamera`.
    """

    name: str
    place: Any


class Pictures:
    """Draws every view of one model at `size` x `size` pixels.

    A process can have one MuJoCo renderer at a time, so the one that was used last is open and all others are closed; they open again
    by themselves when they are used again. Switching between worlds costs some 50 ms, drawing does not. Pictures are drawn at twice the
    size and averaged: half the time of four samples a pixel, and small things keep their colour.
    """

    _open: Pictures | None = None

    def __init__(self, model: Any, views: tuple[View, ...], size: int) -> None:
        """Prepares drawing.

        Args:
            model: The `mujoco.MjModel` to draw. Its off-screen quality is changed.
            views: What to draw, in the order of the contract.
            size: Height and width in pixels.
        """
        model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = 2 * size
        self._model, self._views, self._size = model, views, size
        self._renderer: Any = None

    def draw(self, data: Any) -> dict[str, Pixels]:
        """Every view of the state `data`, as uint8 (size, size, 3), shadows and reflections off (they cost most of the time)."""
        renderer = self._ready()
        return {view.name: self._draw_one(renderer, data, view.place) for view in self._views}

    def close(self) -> None:
        """Frees the renderer. Safe to call twice."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        if Pictures._open is self:
            Pictures._open = None

    def _ready(self) -> Any:
        if self._renderer is None:
            mujoco = load_mujoco()
            _close_open_renderer()
            self._renderer = _opened(lambda: mujoco.Renderer(self._model, 2 * self._size, 2 * self._size))
            atexit.unregister(_close_open_renderer)
            atexit.register(_close_open_renderer)  # after MuJoCo registered its own clean-up, so that it runs before it
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._renderer.scene.flags[flag] = 0
            Pictures._open = self
        return self._renderer

    def _draw_one(self, renderer: Any, data: Any, place: Any) -> Pixels:
        renderer.update_scene(data, place)
        fine = renderer.render().astype(np.uint16)
        return ((fine[0::2, 0::2] + fine[1::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 1::2] + 2) // 4).astype(np.uint8)


def _close_open_renderer() -> None:
    """Closes the process's renderer. Also called at exit, where MuJoCo's own clean-up comes too late and complains."""
    if Pictures._open is not None:
        Pictures._open.close()


def _opened(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        raise RenderingUnavailableError(
            f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL', '(unset)')} ({error}); unset it to have one chosen, "
            "and on Debian run: apt-get install libegl1 libosmesa6"
        ) from error
