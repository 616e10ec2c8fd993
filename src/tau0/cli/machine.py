"""What should be known about where a result came from."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tau0 import __version__

_PACKAGES = ("torch", "numpy", "mujoco", "metaworld", "robosuite")


def machine() -> str:
    """Processor and number of usable cores."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {usable} core{'' if usable == 1 else 's'}, {platform.system()} {platform.machine()}"


def versions() -> str:
    """Of this package and of what its results depend on."""
    found = [f"tau0 {__version__}", f"Python {platform.python_version()}"]
    return ", ".join(found + [f"{name} {known}" for name in _PACKAGES if (known := _version(name))])


def today() -> str:
    """The date, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def command_line() -> str:
    """The command that is running, without the folder that the program is in."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.is_file():
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
