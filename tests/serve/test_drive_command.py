"""`tau0 drive`: what cannot be is said before any server is started."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tau0.cli import run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--executor", "rct"), "did you mean 'rtc'"),
        (("--guidance", "0.5"), "--guidance is for --executor rtc, this one is naive"),
        (("--executor", "rtc", "--guidance", "51"), "--guidance is 51, it must lie between 0 and 50"),
        (("--executor", "rtc", "--guidance", "nan"), "--guidance is nan"),
        (("--mode", "best"), "unknown mode 'best'"),
        (("--tasks", "reach-v3", "reach-v3"), "given twice"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(arguments: tuple[str, ...], words: str) -> None:
    out = io.StringIO()
    console = Console(file=out, width=250)
    assert run(("drive", *arguments), console, console) == 2
    assert words in " ".join(out.getvalue().split())
    assert "Traceback" not in out.getvalue()
