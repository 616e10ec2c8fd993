"""Structured logs: one JSON object a line, with what happened and its numbers."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any

LOGGER = logging.getLogger("tau0.serve")
_LONGEST = 500


def event(what: str, level: int = logging.INFO, error: BaseException | None = None, **numbers: Any) -> None:
    """Logs that `what` happened. The traceback of `error` goes into the log, and nowhere else."""
    LOGGER.log(level, what, exc_info=error, extra={"tau0": numbers})


class JsonLines(logging.Formatter):
    """Records as one line each. What clients have written is cut, and stands in quotes: it can neither fill the log nor forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, Any] = {"time": stamp, "level": record.levelname.lower(), "event": record.getMessage()[:_LONGEST]}
        line |= {name: _short(value) for name, value in getattr(record, "tau0", {}).items()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    return value[:_LONGEST] if isinstance(value, str) else value


def configure_logs(level: int = logging.INFO) -> None:
    """Sends the server's log to standard error, as JSON lines; of the websocket library only what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name, lowest in (("tau0.serve", level), ("websockets", logging.CRITICAL)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(lowest)
