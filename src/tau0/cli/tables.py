"""`tau0 tables`: every table of a document, made from committed episodes, with no simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from rich.console import Console

RESULTS = Path("docs/results")
TABLES = RESULTS / "tables.toml"
STALE = 1


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Make the tables of documents from the episodes that were evaluated. Nothing is simulated.

    In a document a table stands between <!-- results: NAME --> and <!-- /results -->. Without documents all tables are printed.

    Attributes:
        settings: Says which tables there are, and which files of episodes each is made of.
        check: Documents to compare; the status is 1 where a table says something else than the episodes.
        write: Documents whose tables to make anew.
    """

    settings: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLES.toml")] = TABLES
    check: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()

    stopped: ClassVar[str] = "Stopped."

    def run(self, console: Console, stderr: Console) -> int:
        """Prints, compares or writes."""
        from tau0.evaluate.document import marked_names, read_document, stale, write_document
        from tau0.evaluate.result_tables import read_tables

        tables = read_tables(self.settings)
        for path in self.write:
            changed = write_document(path, tables)
            _say(console, f"{path}: {', '.join(changed) if changed else 'nothing'} written anew")
        wrong = {path: stale(read_document(path), tables, str(path)) for path in self.check}
        for path, names in wrong.items():
            if names:
                _say(stderr, f"{path}: {', '.join(names)} not as in the episodes; `tau0 tables --write {path}` makes them anew")
            else:
                held = marked_names(read_document(path))
                _say(console, f"{path}: {len(held)} tables are as in the episodes ({', '.join(held) or 'none are marked'})")
        if not self.check and not self.write:
            for name, text in tables.items():
                _say(console, f"{name}\n\n{text()}")
        return STALE if any(wrong.values()) else 0


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
