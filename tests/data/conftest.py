from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_v2 import write_v2

from tau0.contract import ActionSpec, Camera, Embodiment
from tau0.data.assemble import assemble
from tau0.data.schema import EpisodeRecord
from tau0.data.writer import UnitWriter

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = ("x", "y", "z", "gripper")


@pytest.fixture
def embodiment() -> Embodiment:
    """What `EpisodeRecord.fake` records."""
    return Embodiment(
        name="fake arm",
        cameras=(Camera(name="front", height=32, width=32), Camera(name="wrist", height=32, width=32)),
        state_names=NAMES,
        action=ActionSpec(names=NAMES, low=(-1.0,) * 4, high=(1.0,) * 4, gripper=(3,)),
        control_hz=10.0,
        action_horizon=17,
        frame_stride=8,
    )


@pytest.fixture
def records() -> tuple[EpisodeRecord, ...]:
    """A demonstration, a failure, and two branches off the demonstration."""
    first, second, third, fourth = (EpisodeRecord.fake(steps, seed) for seed, steps in enumerate((20, 12, 17, 9)))
    left = {"kind": "branch", "group": 0, "parent": 0, "parent_frame": 7}
    return (
        first,
        replace(second, meta=replace(second.meta, kind="failure", success=False, behaviour="frozen")),
        replace(third, meta=replace(third.meta, branch="expert", remaining=4, **left)),
        replace(fourth, meta=replace(fourth.meta, branch="wrong", success=False, **left)),
    )


@pytest.fixture
def recorded(tmp_path: Path, embodiment: Embodiment, records: tuple[EpisodeRecord, ...]) -> Path:
    """The folder of a dataset with these records, in two units, so in two files."""
    root = tmp_path / "recorded"
    with UnitWriter(root, "second", embodiment) as writer:
        writer.add(records[1])
    with UnitWriter(root, "first", embodiment) as writer:
        for record in (records[0], records[2], records[3]):
            writer.add(record)
    assemble(root, ["first", "second"], embodiment)
    return root


@pytest.fixture
def shared() -> Path:
    """Datasets that other people recorded on real robots."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real datasets in {SHARED}, which are not part of the repository")
    return SHARED


@pytest.fixture
def four(tmp_path: Path) -> Path:
    return write_v2(tmp_path / "four", [EpisodeRecord.fake(20 + seed, seed) for seed in range(4)], offset_s=0.05)
