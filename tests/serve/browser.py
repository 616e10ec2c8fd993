"""A headless Chromium that is asked by its own protocol, and tells what went wrong in a page."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
MISTAKES = ("Runtime.exceptionThrown", "Log.entryAdded")


class Page:
    """One page of 390 pixels, as a phone has it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._asked = socket, 0
        self.mistakes: list[str] = []
        for name in ("Runtime", "Log", "Page"):
            self.ask(f"{name}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("method") in MISTAKES:
                self.mistakes.append(json.dumps(message["params"]))
            if message.get("id") == self._asked:
                return message["result"]

    def go(self, address: str) -> None:
        self.ask("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str, seconds: float = 60.0) -> None:
        """Until the expression is true of the page."""
        until = time.monotonic() + seconds
        while self.value(expression) is not True:
            assert time.monotonic() < until, (expression, self.mistakes, self.value("document.body.innerText"))
            time.sleep(0.1)


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """An empty page; skips where no browser starts."""
    if shutil.which("chromium") is None:
        pytest.skip("needs the command chromium")
    command = ["chromium", *OPTIONS, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(folder), proxy=None, max_size=None, compression=None, ping_interval=None) as socket:
            yield Page(socket)
    finally:
        process.kill()
        process.wait()


def _address(folder: Path) -> str:
    told = folder / "DevToolsActivePort"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if told.exists() and len(lines := told.read_text().splitlines()) == 2:
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json", timeout=10) as answer:
                pages = [entry for entry in json.load(answer) if entry["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.1)
    pytest.skip("chromium does not start here")
