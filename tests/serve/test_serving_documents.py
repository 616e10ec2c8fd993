"""What the documents and examples of serving name does exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tau0.cli.drive import EXECUTORS, Drive
from tau0.cli.serve import Serve
from tau0.plan.executor import KINDS
from tau0.serve.requests import PARSERS

ROOT = Path(__file__).parents[2]
FILES = ("docs/serving.md", "docs/security.md", "examples/serve/Containerfile", "examples/serve/tau0-serve.service")


@pytest.mark.parametrize("name", FILES)
def test_every_option_is_one(name: str) -> None:
    text = (ROOT / name).read_text()
    known = {field.name.replace("_", "-") for command in (Serve, Drive) for field in dataclasses.fields(command)}
    starts = ("CMD", "ENTRYPOINT", "|", "start")
    lines = [line for line in text.splitlines() if "tau0 serve" in line or "tau0 drive" in line or line.startswith(starts)]
    assert [option for line in lines for option in re.findall(r"--([a-z][a-z-]+)", line) if option not in known] == []


def test_every_message_is_described() -> None:
    text = (ROOT / "docs/serving.md").read_text()
    assert set(re.findall(r'"type": "(\w+)"', text)) >= set(PARSERS)


def test_every_test_that_a_promise_rests_on_is_there() -> None:
    names = set(re.findall(r"`((?:tests/)?test_\w+\.py)`", (ROOT / "docs/security.md").read_text()))
    assert len(names) >= 5
    assert [name for name in names if not ((ROOT / name).is_file() or (Path(__file__).parent / name).is_file())] == []


def test_every_link_leads_somewhere() -> None:
    for name in FILES[:2]:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_the_executors_of_the_command_line_are_those_there_are() -> None:
    assert set(EXECUTORS) == set(KINDS)
