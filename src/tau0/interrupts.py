"""Ctrl-C among processes: a terminal sends it to parent and children alike, and the parent alone should answer. Standard library only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Lets processes that start meanwhile inherit deafness to Ctrl-C. Does nothing outside the main thread, which may not set signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
