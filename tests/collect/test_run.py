"""Collecting for real: one task, every kind of episode, several processes, interrupted and not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tau0.collect.run import CollectConfig, CollectProgress, collect
from tau0.collect.units import FIRST_SEED, CollectError, plan_units
from tau0.data.episodes import Dataset
from tau0.data.writer import STAGING
from tau0.worlds.instructions import UnknownTaskError, train_instructions
from tau0.worlds.metaworld import EMBODIMENT

SMALL = {"tasks": ("reach-v3",), "demonstrations": 1, "failures": 1, "branch_groups": 1}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("collected") / "dataset"
    collect(CollectConfig(root=root, **SMALL, workers=2))
    return root


def test_every_kind_is_recorded(root: Path) -> None:
    dataset = Dataset.open(root)
    dataset.check_against(EMBODIMENT)
    kinds = [episode.kind for episode in dataset.episodes]
    assert kinds[:2] == ["demonstration", "failure"]
    assert kinds[3:] == ["branch"] * 5
    assert {episode.branch for episode in dataset.episodes[3:]} == {"expert", "near_miss", "wrong"}
    assert {episode.parent for episode in dataset.episodes[3:]} == {2}
    assert all(episode.seed >= FIRST_SEED for episode in dataset.episodes)
    assert all(episode.instruction in train_instructions("reach-v3") for episode in dataset.episodes)


def test_branches_begin_where_their_parent_was(root: Path) -> None:
    dataset = Dataset.open(root)
    parent = dataset.table(dataset.episodes[2])
    for episode in dataset.episodes[3:]:
        assert episode.length == 25
        np.testing.assert_array_equal(dataset.table(episode)["observation.state"][0], parent["observation.state"][episode.parent_frame])


def test_an_interrupted_collection_goes_on_and_ends_the_same(root: Path, tmp_path: Path) -> None:
    config = CollectConfig(root=tmp_path / "again", **SMALL, workers=1)

    def interrupt(progress: CollectProgress) -> None:
        if progress.units_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(config, interrupt)
    assert not (config.root / "meta").exists()
    assert sum(path.is_dir() for path in (config.root / STAGING).iterdir()) >= 1

    seen: list[CollectProgress] = []
    collect(config, seen.append)
    assert seen[0].units_done >= 1
    assert contents(config.root) == contents(root)


def test_workers_end_with_a_collection_that_is_killed(tmp_path: Path) -> None:
    code = "from tau0.cli import main; main()"
    options = ("--tasks", "reach-v3", "--demonstrations", "60", "--failures", "0", "--branch-groups", "0", "--workers", "1")
    command = [sys.executable, "-c", code, "collect", "--out", str(tmp_path / "data"), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        _wait_until(lambda: any((tmp_path / "data" / STAGING).glob("reach-v3*")))
        process.kill()
    _wait_until(lambda: not _has_members(process.pid))


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_finished_collection_is_left_alone(root: Path) -> None:
    before = contents(root)
    assert collect(CollectConfig(root=root, **SMALL)).rows == 0
    assert contents(root) == before


def test_other_settings_are_refused(root: Path) -> None:
    with pytest.raises(CollectError, match="holds a collection with failures 1, not 2"):
        collect(CollectConfig(root=root, **{**SMALL, "failures": 2}))


def test_some_tasks_have_more_demonstrations(tmp_path: Path, root: Path) -> None:
    config = CollectConfig(root=tmp_path, tasks=("reach-v3", "push-v3"), demonstrations=2, demonstrations_of={"reach-v3": 20})
    episodes = dict.fromkeys(config.tasks, 0)
    for unit in config.units():
        episodes[unit.task] += unit.episodes if unit.kind == "demonstration" else 0
    assert episodes == {"reach-v3": 20, "push-v3": 2}
    with pytest.raises(CollectError, match=r"holds a collection with demonstrations_of None, not \{'reach-v3': 3\}"):
        collect(CollectConfig(root=root, **SMALL, demonstrations_of={"reach-v3": 3}))
    with pytest.raises(CollectError, match="demonstrations_of names 'pull-v3', which is not collected; there are reach-v3, push-v3"):
        replace(config, demonstrations_of={"pull-v3": 3})
    with pytest.raises(CollectError, match="demonstrations_of reach-v3 is -1; it cannot be negative"):
        replace(config, demonstrations_of={"reach-v3": -1})


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(CollectError, match="is not empty and holds no collection"):
        collect(CollectConfig(root=tmp_path, **SMALL))


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectError, match=r"cannot write .*: Not a directory; free space or choose another folder"):
        collect(CollectConfig(root=tmp_path / "file" / "dataset", **SMALL))


def test_two_collections_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    config = CollectConfig(root=tmp_path / "dataset", **SMALL, workers=1)

    def second(_progress: CollectProgress) -> None:
        collect(config)

    with pytest.raises(CollectError, match="another process is collecting into"):
        collect(config, second)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"failures": -1}, "failures is -1"),
        ({"workers": 0}, "workers is 0"),
        ({"demonstrations": 0, "failures": 0, "branch_groups": 0}, "nothing to collect"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, wrong: dict[str, int], message: str) -> None:
    with pytest.raises(CollectError, match=message):
        CollectConfig(root=tmp_path, **{**SMALL, **wrong})


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match="did you mean"):
        CollectConfig(root=tmp_path, tasks=("drawer-open",))


def test_units_add_up_and_have_random_numbers_of_their_own() -> None:
    units = plan_units("push-v3", {"demonstration": 20, "failure": 9, "branch": 13}, seed=3)
    for kind, total in (("demonstration", 20), ("failure", 9), ("branch", 13)):
        assert sum(unit.episodes for unit in units if unit.kind == kind) == total
    assert len({unit.name for unit in units}) == len(units)
    draws = [int(unit.generator().integers(2**62)) for unit in units]
    assert len(set(draws)) == len(units)
    assert draws == [int(unit.generator().integers(2**62)) for unit in units]
