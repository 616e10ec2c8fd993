"""The tables of docs/scale.md are those that the script computes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_tables_are_what_the_script_computes():
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    scale = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scale)
    document = (ROOT / "docs" / "scale.md").read_text()
    assert scale.filled(document) == document
    with pytest.raises(ValueError, match="no place for the table corpus"):
        scale.filled("nothing")
