"""Tables of documents come from the committed episodes, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tau0.cli import run
from tau0.evaluate.document import filled, marked, marked_names, stale
from tau0.evaluate.episodes import EpisodeResult
from tau0.evaluate.gate_savings import gate_savings
from tau0.evaluate.records import EpisodeRecord, RecordsError, append_record
from tau0.evaluate.result_tables import p_text, read_tables, table_files

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs" / "results" / "tables.toml"


def record(seed: int, *, success: bool, mode: str = "full", task: str = "reach-v3", simulated: int = 0) -> EpisodeRecord:
    result = EpisodeResult(
        task=task, seed=seed, mode=mode, success=success, steps=10, instruction="reach", decisions=4, decision_ms=5.0,
        gates_passed=0, simulated=simulated, revised=0, revisions_kept=0, seconds=1.0,
    )  # fmt: skip
    return EpisodeRecord(result=result, fingerprint="a", requested_instruction=None, max_steps=300)


def written(path: Path, records: list[EpisodeRecord]) -> Path:
    for one in records:
        append_record(path, one)
    return path


def test_the_readme_says_what_the_committed_episodes_say() -> None:
    tables, readme = read_tables(SETTINGS), (ROOT / "README.md").read_text(encoding="utf-8")
    assert marked_names(readme), "no table of README.md is marked"
    assert stale(readme, tables, "README.md") == [], "run `make tables`, or commit the episodes that README.md tells of"


def test_every_table_can_be_made_from_files_that_are_there() -> None:
    assert all(path.is_file() for path in table_files(SETTINGS))
    for text in read_tables(SETTINGS).values():
        assert text().startswith("| ")


def test_a_changed_episode_or_a_changed_word_is_noticed(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [record(seed, success=seed < 3, mode=mode) for mode in ("single", "full") for seed in range(4)])
    settings = tmp_path / "tables.toml"
    settings.write_text('[main]\nkind = "success"\nfiles = ["a.jsonl"]\ntitle = "solved"\n')
    tables = read_tables(settings)
    document = f"# Title\n\n{marked('main', tables['main']())}\n\nThe end.\n"
    assert "| reach | 3/4, 75% [30, 95] | 3/4, 75% [30, 95] |" in document
    assert stale(document, tables, "README") == []
    wrong = document.replace("3/4", "4/4", 1)
    assert stale(wrong, tables, "README") == ["main"]
    assert filled(wrong, tables, "README") == document
    written(tmp_path / "a.jsonl", [record(9, success=True, mode="single")])
    assert stale(document, tables, "README") == ["main"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("<!-- results: mian -->\n<!-- /results -->\n", r"README: table 'mian' is unknown, did you mean 'main'"),
        ("<!-- results: main -->\n| a |\n", r"must end with <!-- /results -->"),
    ],
)
def test_marks_that_mean_nothing_are_refused(document: str, said: str) -> None:
    with pytest.raises(RecordsError, match=said):
        filled(document, {"main": lambda: ""}, "README")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[a]\nkind = "sucess"\nfiles = []\n', r"a: .*'success'"),
        ('[a]\nkind = "success"\nfiles = ["b.jsonl"]\nmods = []\n', r"a.success.mods: .*"),
        ('[a]\nkind = "success"\nfiles = ["b.jsonl"]\n', r"b.jsonl is not there"),
        ("[a\n", r"is not TOML"),
    ],
)
def test_settings_are_read_strictly(settings: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "tables.toml").write_text(settings)
    with pytest.raises(RecordsError, match=said):
        read_tables(tmp_path / "tables.toml")["a"]()


def test_a_table_is_of_one_checkpoint_and_in_each_mode_of_one_setting(tmp_path: Path) -> None:
    plain = [replace(record(seed, success=True, mode="single"), checkpoint="x") for seed in range(2)]
    settings = tmp_path / "tables.toml"
    settings.write_text('[a]\nkind = "success"\nfiles = ["a.jsonl", "b.jsonl"]\n')
    written(tmp_path / "a.jsonl", plain)
    written(tmp_path / "b.jsonl", [record(2, success=True, mode="single"), replace(record(0, success=True), checkpoint="x")])
    assert "3/3" in read_tables(settings)["a"]()
    (tmp_path / "b.jsonl").unlink()
    written(tmp_path / "b.jsonl", [replace(record(0, success=True), checkpoint="y")])
    with pytest.raises(RecordsError, match="of checkpoints x and y"):
        read_tables(settings)["a"]()
    (tmp_path / "b.jsonl").unlink()
    written(tmp_path / "b.jsonl", [replace(record(7, success=True, mode="single"), fingerprint="b")])
    with pytest.raises(RecordsError, match="mode single are of checkpoints or settings a and b"):
        read_tables(settings)["a"]()


def test_the_gate_saves_what_it_did_not_simulate(tmp_path: Path) -> None:
    gated = [record(seed, success=seed < 3, simulated=1) for seed in range(4)]
    always = [record(seed, success=seed < 3, simulated=4) for seed in range(4)]
    found = gate_savings(gated, always)
    assert (found.saved.estimate, found.simulated_gated, found.simulated_always) == (0.75, 1.0, 4.0)
    assert found.comparison.difference.estimate == 0
    with pytest.raises(RecordsError, match="--gate-threshold inf"):
        gate_savings(always, [record(seed, success=True) for seed in range(4)])
    with pytest.raises(RecordsError, match="do not match"):
        gate_savings(gated[:3], always)
    written(tmp_path / "gated.jsonl", [*gated, record(9, success=True, simulated=7)])
    written(tmp_path / "always.jsonl", always)
    (tmp_path / "tables.toml").write_text('[gate]\nkind = "gate"\ngated = "gated.jsonl"\nalways = "always.jsonl"\n')
    text = read_tables(tmp_path / "tables.toml")["gate"]()
    assert "| simulations saved | 75% [75, 75] | |" in text
    assert "| gain over never passing | +0.0 points, no episode differs | |" in text


def test_groups_are_means_over_tasks(tmp_path: Path) -> None:
    two = [record(seed, success=seed < 2, task=task) for task in ("handover", "two-arm-lift") for seed in range(4)]
    from tau0.worlds.registry import SUITES

    tasks = SUITES["demo"]
    some = [record(seed, success=task == tasks[0], task=task) for task in tasks for seed in range(2)]
    written(tmp_path / "a.jsonl", [*two, *some])
    (tmp_path / "tables.toml").write_text('[a]\nkind = "success"\nfiles = ["a.jsonl"]\nsuites = ["demo"]\n')
    assert "| demo | 20.0% |" in read_tables(tmp_path / "tables.toml")["a"]()
    (tmp_path / "tables.toml").write_text('[a]\nkind = "success"\nfiles = ["a.jsonl"]\nsuites = ["mt50-easy"]\n')
    with pytest.raises(RecordsError, match="which suite mt50-easy needs"):
        read_tables(tmp_path / "tables.toml")["a"]()


@pytest.mark.parametrize(("p_value", "text"), [(1.0, "p = 1.00"), (0.029, "p = 0.03"), (0.0049, "p = 0.005"), (1e-5, "p < 0.001")])
def test_p_values_as_text(p_value: float, text: str) -> None:
    assert p_text(p_value) == text


@pytest.mark.parametrize("option", ["--check", "--write"])
def test_a_document_that_is_no_text_is_named(option: str, tmp_path: Path) -> None:
    (tmp_path / "tables.toml").write_text("")
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    stderr = Console(record=True, width=300)
    assert run(["tables", str(tmp_path / "tables.toml"), option, str(tmp_path / "README.md")], stderr, stderr) == 2
    assert "README.md is no text in UTF-8" in stderr.export_text()


def test_the_command_prints_compares_and_writes(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", [record(seed, success=True) for seed in range(2)])
    (tmp_path / "tables.toml").write_text('[main]\nkind = "success"\nfiles = ["a.jsonl"]\n')
    (tmp_path / "README.md").write_text("<!-- results: main -->\n<!-- /results -->\n")
    settings, readme = str(tmp_path / "tables.toml"), str(tmp_path / "README.md")
    console, stderr = Console(record=True, width=200), Console(record=True, width=200)
    assert run(["tables", settings, "--check", readme], console, stderr) == 1
    assert run(["tables", settings, "--write", readme], console, stderr) == 0
    assert run(["tables", settings, "--check", readme], console, stderr) == 0
    assert run(["tables", settings], console, stderr) == 0
    assert "main not as in the episodes" in stderr.export_text()
    assert "2/2, 100%" in console.export_text()
