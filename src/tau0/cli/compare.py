"""`tau0 compare`: evaluations of several checkpoints or settings, paired episode by episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import UsageError


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare evaluations that met the same episodes: rates, differences with intervals, McNemar's exact test.

    The first file is what the others are compared with. Runs that do not match (other episodes, modes or numbers of steps) are refused.

    Attributes:
        results: Files that `tau0 evaluate` wrote, two at least.
        names: What to call them, in the same order; the files' own names unless given.
        markdown: Print tables for a document.
    """

    results: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RESULTS.jsonl")]
    names: tuple[str, ...] = ()
    markdown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    stopped: ClassVar[str] = "Stopped."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Prints a table for each mode."""
        from tau0.evaluate.compare import side_by_side
        from tau0.evaluate.records import read_records
        from tau0.evaluate.table import success_markdown, success_table, summarize

        for path in self.results:
            if not path.is_file():
                raise UsageError(f"{path} is not a file; give results that `tau0 evaluate` wrote")
        for mode, records in side_by_side({name: read_records(path) for name, path in self._named().items()}).items():
            if self.markdown:
                console.print(success_markdown(summarize(records)), markup=False, highlight=False, soft_wrap=True)
            else:
                console.print(success_table(summarize(records), f"mode {mode}"))
        return 0

    def _named(self) -> dict[str, Path]:
        """Path by name."""
        names = self.names or _own_names(self.results)
        if len(names) != len(self.results) or len(set(names)) < len(names):
            raise UsageError(
                f"--names gives {len(names)} names for {len(self.results)} files, expected one each, no two alike: {', '.join(names)}"
            )
        return dict(zip(names, self.results, strict=True))


def _own_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """The files' names, or their folders' where those are all the same."""
    stems = [path.stem for path in paths]
    return tuple(stems if len(set(stems)) == len(stems) else [f"{path.absolute().parent.name}/{path.stem}" for path in paths])
