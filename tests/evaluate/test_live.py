"""The display says what happens, in a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from fake_traces import fake_trace
from rich.console import Console

from tau0.evaluate.live import DemoDisplay


def run_two_episodes(console: Console) -> None:
    trace = fake_trace(0, num_decisions=8, num_candidates=3)
    with DemoDisplay(console) as display:
        for success in (True, False):
            display.episode_started("reach-v3", "move to [the] sphere", 64)
            for decision in trace.decisions:
                display.decision(decision)
            display.episode_finished(success, 40)


def test_a_log_gets_plain_lines() -> None:
    output = io.StringIO()
    run_two_episodes(Console(file=output, width=60))
    lines = output.getvalue().splitlines()
    assert lines[0] == '1. reach-v3: "move to [the] sphere" ...'
    assert lines[1].startswith("   solved in 40 of 64 steps, 8 decisions: ")
    assert lines[3].startswith("   not solved in 40 of 64 steps")
    assert len(lines) == 4
    assert "\x1b" not in output.getvalue()


@pytest.mark.parametrize(("width", "shows_instruction"), [(120, True), (80, False), (64, False)])
def test_a_terminal_gets_a_table_that_fits(width: int, shows_instruction: bool) -> None:
    output = io.StringIO()
    run_two_episodes(Console(file=output, force_terminal=True, width=width, color_system=None, legacy_windows=False))
    final = output.getvalue()[output.getvalue().rindex("decided") :]
    assert "✓" in final
    assert "✕" in final
    assert "1 of 2 solved" in final
    assert ("sphere" in final) is shows_instruction
    assert all(len(line) <= width for line in final.splitlines())
    assert "reach-v3" in final


def test_a_decision_needs_an_episode() -> None:
    display = DemoDisplay(Console(file=io.StringIO()))
    with pytest.raises(RuntimeError, match="episode_started first"):
        display.episode_finished(True, 1)
