"""The tables of a document, made from committed episodes alone: each stands between two comments that name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tau0.evaluate.records import RecordsError
from tau0.evaluate.settings_file import known

Tables = Mapping[str, Callable[[], str]]
"""By name, how the text of a table is made."""

_MARKED = re.compile(r"^<!-- results: (?P<name>[^\n]*?) -->\n(?P<text>.*?)^<!-- /results -->$", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"^<!-- results: ", re.MULTILINE)


def marked(name: str, text: str) -> str:
    """The table as it stands in a document."""
    return f"<!-- results: {name} -->\n{text.rstrip()}\n<!-- /results -->"


def filled(document: str, tables: Tables, where: str) -> str:
    """The document with every marked table made anew. The rest is left as it is.

    Args:
        document: Its text.
        tables: All that may be marked.
        where: What the document is called in errors.

    Raises:
        RecordsError: A mark names no table, or has no end.
    """
    if len(_OPENING.findall(document)) != len(_MARKED.findall(document)):
        raise RecordsError(
            f"{where}: a table that begins with <!-- results: NAME --> must end with <!-- /results -->, each on its own line"
        )

    def anew(found: re.Match[str]) -> str:
        name = known(found["name"], list(tables), f"{where}: table")
        return marked(name, tables[name]())

    return _MARKED.sub(anew, document)


def stale(document: str, tables: Tables, where: str) -> list[str]:
    """Names of the marked tables that do not say what the episodes say. Raises as `filled`."""
    now = filled(document, tables, where)
    return [
        before["name"] for before, after in zip(_MARKED.finditer(document), _MARKED.finditer(now), strict=True) if before[0] != after[0]
    ]


def marked_names(document: str) -> list[str]:
    """Which tables the document holds."""
    return [found["name"] for found in _MARKED.finditer(document)]


def read_document(path: Path) -> str:
    """The document's text. Raises `RecordsError` when it is none in UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path} is no text in UTF-8: {error}") from None


def write_document(path: Path, tables: Tables) -> list[str]:
    """Makes the tables of a file anew. Returns the names of those that changed. Raises as `filled` and `read_document`."""
    before = read_document(path)
    changed = stale(before, tables, str(path))
    if changed:
        path.write_text(filled(before, tables, str(path)), encoding="utf-8")
    return changed
