"""The command line without hours of work: help, spelling, places that cannot be written, what errors look like."""

from __future__ import annotations

import errno
import io
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tyro
from rich.console import Console

from tau0.checkpoint import ScoreError, save
from tau0.cli import COMMANDS, Command, run
from tau0.cli.arguments import MODES, ORACLES, SCORE_ERRORS, UsageError, check_planning, choose, choose_modes, choose_seeds, choose_tasks
from tau0.cli.bars import Bars
from tau0.cli.errors import FAILED, INTERRUPTED, guarded, sentence
from tau0.cli.evaluate import STILL_BELOW
from tau0.cli.folders import writable_file, writable_folder
from tau0.cli.report import MAX_MB
from tau0.cli.reproduce import comparison_table
from tau0.cli.shipped import expected_scores
from tau0.contract import ContractError
from tau0.evaluate import oracle, report
from tau0.evaluate.report_card import CardError, read_card
from tau0.evaluate.trace import EpisodeTrace, write_trace
from tau0.plan import planner
from tau0.plan.selectors import Mode
from tau0.worlds.instructions import UnknownTaskError
from tiny import tiny_checkpoint, tiny_config

GOLDEN = Path(__file__).parents[1] / "golden"


def outcome(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    status = run(arguments, Console(file=out, width=120), Console(file=err, width=120))
    return status, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run([command, "--help"])
    assert end.value.code == 0
    assert f"tau0 {command}" in capsys.readouterr().out


def test_help_is_quick_because_it_needs_no_torch() -> None:
    code = "import sys, tau0.cli; assert not {'torch', 'mujoco', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modes_are_the_planners() -> None:
    assert get_args(Mode) == MODES
    assert get_args(ScoreError) == SCORE_ERRORS
    assert tuple(oracle.ORACLES) == ORACLES
    assert planner.STILL_BELOW == STILL_BELOW
    assert report.MAX_MB == MAX_MB


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trian",), "unknown command 'trian', did you mean 'train'?"),
        (("train", "nanno", "--data", "d", "--out", "o"), "unknown preset 'nanno', did you mean 'nano'?"),
        (("train", "tiny", "--data", "d", "--out", "o", "--augment"), "--augment changes pictures from video (--pictures video)"),
        (("train", "tiny", "--data", "d", "--out", "o", "--pictures", "video", "--variants", "2"), "--variants 2 are of latents on disk"),
        (("collect", "--out", "o", "--tasks", "reach"), "unknown task 'reach': did you mean"),
        (("collect", "--out", "o", "--suite", "dmeo"), "unknown suite 'dmeo', did you mean 'demo'?"),
        (("collect", "--out", "o", "--workers", "0"), "workers is 0; it must be at least 1"),
        (("evaluate", "shipped", "--modes", "ful"), "unknown mode 'ful', did you mean 'full'?"),
        (("evaluate", "shipped", "--instructions", "heldout"), "did you mean 'held-out'?"),
        (("evaluate", "nowhere"), "nowhere is not a checkpoint"),
        (("evaluate", "shipped", "--modes", "orcale"), "unknown mode 'orcale', did you mean 'oracle'?"),
        (("evaluate", "shipped", "--noise-scale", "0"), "--noise-scale is 0, it must be above 0"),
        (("evaluate", "shipped", "--score-sigmas", "0.6", "1.5"), "--score-sigmas holds 1.5"),
        (("evaluate", "shipped", "--still-below", "2"), "--still-below is 2, it must lie between 0 and 1"),
        (("demo", "--mode", "oracle"), "unknown mode 'oracle'"),
        (("demo", "--mode", "fulll"), "did you mean 'full'?"),
        (("report", "nowhere"), "nowhere is not a folder"),
        (("card", "shipped", "--data", "d", "--seed", "-1"), "--seed is -1, it must be at least 0"),
        (("verify",), "give at least one golden file"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = outcome(*arguments)
    assert (status, out) == (FAILED, "")
    assert said in err
    assert err.count("\n") == 1


def test_verify_tells_right_wrong_and_unreadable_apart(tmp_path: Path) -> None:
    good = GOLDEN / "progress_labels.safetensors"
    status, out, _ = outcome("verify", str(good))
    assert status == 0
    assert "0 beyond tolerance" in out
    wrong = tmp_path / "wrong.safetensors"
    shutil.copy(good, wrong)
    content = bytearray(wrong.read_bytes())
    content[-4:] = b"\x00\x00\x40\x40"
    wrong.write_bytes(content)
    status, out, _ = outcome("verify", str(wrong))
    assert status == 1
    assert "beyond" in out
    status, out, err = outcome("verify", str(good), str(tmp_path / "none.safetensors"))
    assert status == FAILED
    assert "none.safetensors" in err
    assert "progress_labels" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("collect", "--tasks", "reach-v3", "--out", "{}"),
        ("train", "tiny", "--data", "nowhere", "--out", "{}"),
        ("reproduce", "--out", "{}"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_at_once(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = outcome(*(a.format(tmp_path / "file" / "out") for a in arguments))
    assert status == FAILED
    assert f"cannot write to {tmp_path / 'file' / 'out'}" in err


def test_folders_and_files(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(UsageError, match="MB are needed"):
        writable_folder(tmp_path, needed_mb=1e12)
    with pytest.raises(UsageError, match="is a folder"):
        writable_file(tmp_path)
    assert not writable_file(tmp_path / "new.jsonl").exists()


def test_a_dataset_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    status, _, err = outcome("train", "tiny", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"))
    assert status == FAILED
    assert "expected a LeRobot dataset" in err


def raising(error: BaseException, wants_traceback: bool = False) -> tuple[int, str]:
    stream = io.StringIO()

    def work() -> int:
        raise error

    return guarded(work, "Stopped. Kept.", wants_traceback, Console(file=stream, width=200)), stream.getvalue()


def test_interruption_says_what_is_kept() -> None:
    assert raising(KeyboardInterrupt()) == (INTERRUPTED, "\nStopped. Kept.\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ContractError("cameras differ"), "cameras differ"),
        (OSError(errno.ENOSPC, "x", "/data/file"), "/data/file: No space left on device; free some space; the same command goes on"),
        (PermissionError(errno.EACCES, "x", "/data"), "/data: Permission denied; use a folder that is yours to read and write"),
        (ModuleNotFoundError("x", name="metaworld.policies"), "pip install 'tau0-wm[sim]'"),
        (UnknownTaskError("unknown task 'a'"), "unknown task 'a'"),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(error: Exception, said: str) -> None:
    status, text = raising(error)
    assert status == FAILED
    assert said in text
    with pytest.raises(type(error)):
        raising(error, wants_traceback=True)


@pytest.mark.parametrize("error", [TypeError("ours"), KeyError("ours"), ModuleNotFoundError("x", name="tau0.nowhere"), OSError("odd")])
def test_our_own_mistakes_keep_their_traceback(error: Exception) -> None:
    assert sentence(error) is None
    with pytest.raises(type(error)):
        raising(error)


def test_a_workers_traceback_is_condensed() -> None:
    from tau0.evaluate.workers import EvaluationError

    said = sentence(EvaluationError("reach-v3, seed 1 failed.\nTraceback ...\n  File ...\nValueError: a reason\n"))
    assert said == "reach-v3, seed 1 failed. The reason: ValueError: a reason (--traceback shows all of it)"


def test_choices() -> None:
    assert choose("preset", "nano", ("tiny", "nano")) == "nano"
    assert choose_modes(["rcs", "single"]) == ("rcs", "single")
    with pytest.raises(UsageError, match="none twice"):
        choose_modes(["rcs", "rcs"])
    assert len(choose_tasks("mt50", ())) == 50
    assert choose_tasks("demo", ("push-v3",)) == ("push-v3",)
    with pytest.raises(UsageError, match="twice"):
        choose_tasks("demo", ("push-v3", "push-v3"))
    with pytest.raises(UsageError, match=r"0 to 999,999"):
        choose_seeds(999_999, 2)


def test_a_log_gets_a_line_now_and_then() -> None:
    stream = io.StringIO()
    with Bars(Console(file=stream, width=120), line_every_s=0.0) as bars:
        bars.start("collect", "5 tasks")
        bars.show("collect", 0.5, "10 rows/s")
        bars.show("collect", 1.0, "11 rows/s")
    assert stream.getvalue().splitlines() == ["collect      5 tasks", "collect       50%  10 rows/s", "collect      100%  11 rows/s"]


def test_a_terminal_gets_a_bar_with_the_time_left() -> None:
    stream = io.StringIO()
    with Bars(Console(file=stream, width=100, force_terminal=True)) as bars:
        bars.start("collect", "5 tasks")
        bars.show("collect", 0.5, "10 rows/s")
    assert "50%" in stream.getvalue()
    assert "10 rows/s" in stream.getvalue()


def test_the_comparison_shows_both_sides_and_what_is_missing() -> None:
    here = {"single": {"reach-v3": (3, 4), "push-v3": (1, 4)}, "full": {"reach-v3": (4, 4)}}
    stream = io.StringIO()
    Console(file=stream, width=100).print(comparison_table(here, {"single": {"reach-v3": (30, 40)}}))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in stream.getvalue().splitlines() if "│" in line]
    assert rows[0][:2] == ["single", "reach-v3"]
    assert rows[0][2].startswith("3/4 75%")
    assert rows[0][3].startswith("30/40 75%")
    assert rows[1][3] == "–"
    assert rows[2][1] == "all"
    assert rows[2][2].startswith("4/8")


def test_expected_scores_come_from_the_checkpoint() -> None:
    config = replace(tiny_config(), provenance={"scores": '{"single": {"reach-v3": [3, 4]}}'})
    assert expected_scores(config) == {"single": {"reach-v3": (3, 4)}}
    assert expected_scores(tiny_config()) == {}


def readme_commands() -> list[str]:
    text = (GOLDEN.parents[1] / "README.md").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip().startswith("tau0 ")]


@pytest.mark.parametrize("line", readme_commands())
def test_every_command_of_the_readme_is_understood(line: str) -> None:
    tyro.cli(Command, prog="tau0", args=shlex.split(line, comments=True)[1:])


def test_a_threshold_or_a_time_that_means_nothing_is_refused() -> None:
    check_planning(None, None)
    check_planning(-inf, 0.0)
    with pytest.raises(UsageError, match="--gate-threshold is nan"):
        check_planning(nan, None)
    for wrong in (nan, inf, -1.0):
        with pytest.raises(UsageError, match="--budget-ms"):
            check_planning(None, wrong)


def test_decisions_without_video_are_no_report(tmp_path: Path) -> None:
    seen = {"frames": np.zeros((0, 1, 8, 8, 3), np.uint8), "frame_steps": np.zeros(0, np.int64)}
    told = {"task": "reach-v3", "instruction": "reach", "mode": "single", "success": True}
    write_trace(tmp_path / "episode-000", EpisodeTrace(seed=3, num_steps=1, seconds=0.1, decisions=(), **told, **seen))
    status, _, said = outcome("report", str(tmp_path))
    assert status == FAILED
    assert "--video" in said


def test_a_card_that_is_missing_or_none_is_asked_for_by_a_command_that_works(tmp_path: Path) -> None:
    save(tiny_checkpoint(), tmp_path / "tiny")
    (tmp_path / "card.json").write_text('{"a": 1}')
    status, _, said = outcome("report", str(tmp_path), "--checkpoint", str(tmp_path / "tiny"))
    assert status == FAILED
    assert f"tau0 card {tmp_path / 'tiny'} --data DATA --out PATH" in " ".join(said.split())
    with pytest.raises(CardError, match=r"tau0 card CHECKPOINT --data DATA --out card\.json"):
        read_card(tmp_path / "card.json")
