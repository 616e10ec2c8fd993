"""What docs/worlds.md shows can be used as it stands, and its numbers are those of the episodes beside it."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

from tau0.data.mixture import read_mixture
from tau0.train.ingredients import world_robot
from tau0.worlds import two_arm
from tau0.worlds.registry import ROBOTS, SUITES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "worlds.md").read_text()
ROW = r"\| ([\w-]+) \| (\d+) \| \**(\d+)\** \| [^|]* \| (\d+) \((\d+) to (\d+)\) \|"


def test_it_names_every_suite_and_robot() -> None:
    assert [name for name in (*SUITES, *ROBOTS) if f"`{name}`" not in TEXT] == []


def test_its_mixture_acts_in_the_two_arm_world(tmp_path: Path) -> None:
    (mixture,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "mixture.json").write_text(mixture)
    assert world_robot(read_mixture(tmp_path / "mixture.json")) == two_arm.EMBODIMENT


@pytest.mark.parametrize("row", re.findall(ROW, TEXT), ids=lambda row: row[0])
def test_its_table_of_experts_is_that_of_the_episodes(row: tuple[str, ...]) -> None:
    name, *numbers = row
    file = "two-arm" if name.startswith("two-arm") else "metaworld"
    lines = [json.loads(line) for line in (DOCS / "results" / "experts" / f"{file}.jsonl").read_text().splitlines()]
    tasks = SUITES.get(name, (name,))
    steps = [line["solved_at"] for line in lines if line["task"] in tasks and not line["is_disturbed"]]
    solved = [step for step in steps if step is not None]
    found = [len(steps), len(solved), int(statistics.median(solved)), min(solved), max(solved)]
    assert found == [int(number) for number in numbers]


def test_the_table_has_seven_rows() -> None:
    assert len(re.findall(ROW, TEXT)) == 7
