"""`tau0 drive`: a server, a loop and a world in one command; what cannot be is said before any of them is started."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tau0.cli import run


def told(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, width=79)
    return run(("drive", *arguments), console, console), out.getvalue()


def test_a_world_is_driven_in_real_time_by_a_server_that_ends_with_it() -> None:
    asked = ("--tasks", "reach-v3", "--mode", "single", "--max-steps", "3", "--real-time", "--executor", "rtc", "--guidance", "0.5")
    status, text = told(*asked)
    assert status == 0, text
    assert "driven through the server: single, rtc" in text
    assert "reach-v3 0" in text
    assert "0 of 1 episodes solved" in text


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
    status, text = told(*arguments)
    assert status == 2
    assert words in " ".join(text.split())
    assert "Traceback" not in text
