from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from processes import forkserver

from tau0.data.assemble import assemble
from tau0.data.episodes import Dataset
from tau0.data.schema import EpisodeRecord
from tau0.data.writer import UnitWriter
from tiny import EMBODIMENT

HORIZON = EMBODIMENT.action_horizon
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the real datasets in {SHARED}, which are not part of the repository")
    return SHARED


@pytest.fixture(scope="module")
def copied_processes() -> Iterator[None]:
    """Workers of training and encoding are copies of a process that has imported everything."""
    with pytest.MonkeyPatch.context() as patched:
        for module in ("workers", "encode_local"):
            patched.setattr(f"tau0.train.{module}.get_context", lambda _method: forkserver())
        yield


def records() -> list[EpisodeRecord]:
    """Four demonstrations, two failures, and three branches off each of two demonstrations; the last of each is held out."""
    demonstrations = [EpisodeRecord.fake(22, seed) for seed in range(4)]
    failures = [EpisodeRecord.fake(16, seed) for seed in (10, 11)]
    made = [
        *demonstrations,
        *(replace(f, meta=replace(f.meta, kind="failure", success=False), progress=f.progress * 0 - 1) for f in failures),
    ]
    for group, parent in enumerate((1, 3)):
        for i, branch in enumerate(("expert", "near_miss", "wrong")):
            record = EpisodeRecord.fake(HORIZON, 20 + 3 * group + i)
            left = {"kind": "branch", "group": group, "parent": parent, "parent_frame": 5, "branch": branch}
            made.append(replace(record, meta=replace(record.meta, **left), progress=record.progress * (0.9 - 0.3 * i)))
    return made


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small collection for the tiny embodiment. Do not write into it."""
    root = tmp_path_factory.mktemp("train") / "dataset"
    with UnitWriter(root, "only", EMBODIMENT) as writer:
        for record in records():
            writer.add(record)
    assemble(root, ["only"], EMBODIMENT)
    return Dataset.open(root)


@pytest.fixture
def data(dataset: Dataset, tmp_path: Path) -> Path:
    """The folder of a copy that may be written to, without what was worked out beside the original."""
    copy = tmp_path / "data"
    for path in dataset.root.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(dataset.root).parts):
            target = copy / path.relative_to(dataset.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy
