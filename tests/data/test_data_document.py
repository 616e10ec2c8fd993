"""What docs/data.md shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from tau0.data.description_check import check_layout
from tau0.data.descriptions import PRESETS, find_description
from tau0.data.layout import LAYOUTS
from tau0.data.mixture import read_mixture

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"


def test_its_description_and_mixture_are_understood(tmp_path: Path) -> None:
    description, mixture = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "kitchen.json").write_text(description)
    (tmp_path / "mixture.json").write_text(mixture)
    kitchen = find_description(tmp_path / "kitchen.json")
    spec = read_mixture(tmp_path / "mixture.json")
    check_layout(kitchen, LAYOUTS[spec.layout])
    assert [source.description.name for source in spec.sources] == ["kitchen", "droid_video_only_v30", "kitchen"]


def test_it_names_every_preset_and_layout() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in (*PRESETS, *LAYOUTS) if f"`{name}`" not in text] == []
