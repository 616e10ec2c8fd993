"""The command line: one file a command. Arguments in, one call, a table out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from tau0.cli.arguments import choose
from tau0.cli.calibrate import Calibrate
from tau0.cli.card import Card
from tau0.cli.collect import Collect
from tau0.cli.compare import Compare
from tau0.cli.convert import Convert
from tau0.cli.demo import Demo
from tau0.cli.doctor import Doctor
from tau0.cli.drive import Drive
from tau0.cli.encode import Encode
from tau0.cli.errors import guarded
from tau0.cli.evaluate import Evaluate
from tau0.cli.prove import Prove
from tau0.cli.realtime import Realtime
from tau0.cli.report import Report
from tau0.cli.reproduce import Reproduce
from tau0.cli.serve import Serve
from tau0.cli.tables import Tables
from tau0.cli.train import Train
from tau0.cli.verify import Verify

TRACEBACK_FLAG, TRACEBACK_VARIABLE = "--traceback", "TAU0_TRACEBACK"
PIPE_CLOSED = 141
"""The status of a program whose reader went away, as a shell reports it."""

_DESCRIPTION = (
    "τ0: one predictive model of video and action that lets a robot imagine before it acts. "
    f"With {TRACEBACK_FLAG} (or {TRACEBACK_VARIABLE}=1) errors show where in the code they arose."
)
COMMANDS = (
    *("demo", "collect", "encode", "train", "evaluate", "realtime", "calibrate", "compare", "prove", "tables"),
    *("card", "report", "reproduce", "serve", "drive", "convert", "verify", "doctor"),
)

ALSO_CALLED = {("evaluate", "simulator"): "card"}
"""Two words that stand for a command. A checkpoint folder of the second name is reached as ./simulator."""

Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Collect, tyro.conf.subcommand("collect")]
    | Annotated[Encode, tyro.conf.subcommand("encode")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Realtime, tyro.conf.subcommand("realtime")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Prove, tyro.conf.subcommand("prove")]
    | Annotated[Tables, tyro.conf.subcommand("tables")]
    | Annotated[Card, tyro.conf.subcommand("card")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[Drive, tyro.conf.subcommand("drive")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main() -> None:
    """The program `tau0`. Ends the process with the command's exit status."""
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = PIPE_CLOSED
    sys.exit(status)


def run(arguments: Sequence[str], console: Console | None = None, stderr: Console | None = None) -> int:
    """The exit status of one command.

    Args:
        arguments: What follows the program's name.
        console: Where results go.
        stderr: Where sentences about errors go.

    Raises:
        SystemExit: Help was asked for (0), or an argument cannot be understood (2).
    """
    wants_traceback = TRACEBACK_FLAG in arguments or os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0")
    given = [argument for argument in arguments if argument != TRACEBACK_FLAG]
    if tuple(given[:2]) in ALSO_CALLED:
        given = [ALSO_CALLED[given[0], given[1]], *given[2:]]
    out, err = console or Console(), stderr or Console(stderr=True)
    if given and not given[0].startswith("-") and given[0] not in COMMANDS:
        return guarded(lambda: len(choose("command", given[0], COMMANDS)), "", wants_traceback, err)
    command = tyro.cli(Command, prog="tau0", description=_DESCRIPTION, args=given)
    return guarded(lambda: command.run(out, err), command.stopped, wants_traceback, err)
