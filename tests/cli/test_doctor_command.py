"""`tau0 doctor`: its exit status, what it says, what it writes, and that it leaves the dataset alone."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from rich.console import Console

from tau0.cli import run
from tau0.cli.doctor import SICK
from tau0.cli.errors import FAILED
from tau0.data.description import SourceDescription
from tau0.data.descriptions import PRESETS

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the real datasets in {SHARED}, which are not part of the repository")
    return SHARED


def doctor(*arguments: object) -> tuple[int, str, str]:
    """Exit status, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    status = run(["doctor", *map(str, arguments)], Console(file=out, width=160), Console(file=err, width=160))
    return status, out.getvalue(), err.getvalue()


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


def test_a_sound_dataset(shared: Path, tmp_path: Path) -> None:
    before = fingerprint(shared / "corrupt/control")
    status, out, err = doctor(shared / "corrupt/control", "--out", tmp_path / "page.html", "--json", tmp_path / "found.json")
    assert status == 0
    assert "Usable: 0 errors" in out
    assert "examining" in err
    assert "100%" in err
    assert json.loads((tmp_path / "found.json").read_text())["usable"] is True
    assert "<title>control" in (tmp_path / "page.html").read_text()
    assert fingerprint(shared / "corrupt/control") == before


@pytest.mark.parametrize("name", ["droid_v30", "droid_video_only_v30", "g1_v21", "g1_v21_renumbered", "gr00t_sim_v20"])
def test_real_recordings_can_be_used(shared: Path, name: str) -> None:
    status, out, _ = doctor(shared / name, "--videos", 0)
    assert (status, "Usable: 0 errors" in out) == (0, True)


def test_a_description_is_held_against_the_dataset(shared: Path, tmp_path: Path) -> None:
    assert doctor(shared / "droid_v30", "--videos", 0, "--description", "droid_v30")[0] == 0
    description = json.loads(TypeAdapter(SourceDescription).dump_json(PRESETS["droid_v30"]))
    description["state"]["right_pose"]["position"]["scale"] = 1000
    (tmp_path / "mine.json").write_text(json.dumps(description))
    status, out, _ = doctor(shared / "droid_v30", "--videos", 0, "--description", tmp_path / "mine.json")
    assert status == SICK
    assert "(right_pose) as a position in metres lies between" in out
    assert "millimetres?" in out


def test_every_fault_is_named_with_a_status(shared: Path) -> None:
    for fault in json.loads((shared / "corrupt/faults.json").read_text())["faults"]:
        before = fingerprint(shared / "corrupt" / fault["dataset"])
        status, out, _ = doctor(shared / "corrupt" / fault["dataset"])
        assert (fault["dataset"], status) == (fault["dataset"], SICK)
        assert fault["file"].replace("\n", "") in out.replace("\n", ""), fault["dataset"]
        assert "Not usable as it is: 1 error" in out
        assert fingerprint(shared / "corrupt" / fault["dataset"]) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere is not a folder"),
        ((".", "--videos", "-1"), "--videos is -1, it must be at least 0"),
        ((".", "--description", "droid"), "'droid' is neither a file nor a description (did you mean 'droid_v30'?)"),
        ((".", "--out", "page.html"), "page.html lies within the dataset, in which nothing is changed"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = doctor(*arguments)
    assert (status, out) == (FAILED, "")
    assert said in err
