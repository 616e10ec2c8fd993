"""`tau0 verify`: does this machine compute what the published system computes?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tau0.cli.arguments import UsageError
from tau0.cli.errors import FAILED

if TYPE_CHECKING:
    from tau0.evaluate.verify import Check

BEYOND_TOLERANCE = 1


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Recompute every output of golden files and show the largest error of each.

    The exit status is 0 when all errors are within tolerance, 1 when one is not, and 2 when a file cannot be read.

    Attributes:
        files: Golden files (safetensors), such as tests/golden/*.safetensors.
        device: Where to compute, as PyTorch names it: cpu, cuda, cuda:1, mps.
        dtype: Of the networks' matrix products. 1e-5 of the largest value is allowed in float32, 0.25 in bfloat16, 0.03 in float16: half
            precision finds a wrong network, not a small mistake.
        compiled: Compile the networks' blocks first, which takes minutes.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE ...")]
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compiled: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    stopped: ClassVar[str] = "Stopped."

    def run(self, console: Console, stderr: Console) -> int:
        """Checks the files, prints the table, returns the exit status."""
        if not self.files:
            raise UsageError("give at least one golden file, such as tests/golden/*.safetensors")
        if folders := [str(path) for path in self.files if path.is_dir()]:
            raise UsageError(f"{folders[0]} is a folder: name its files, {folders[0]}/*.safetensors")

        from tau0.evaluate.setting import Setting, SettingError
        from tau0.evaluate.verify import GoldenFileError, verify_file

        setting = Setting(device=self.device, precision=self.dtype, compiler="inductor" if self.compiled else None)
        try:
            setting.check()
        except SettingError as error:
            raise UsageError(str(error)) from None
        checks: list[tuple[Path, Check]] = []
        unreadable = False
        for path in self.files:
            try:
                checks += [(path, check) for check in verify_file(path, setting)]
            except GoldenFileError as error:
                unreadable = True
                stderr.print(Text(f"tau0: {error}", style="red"), soft_wrap=True)
        failed = [check for _, check in checks if not check.passed]
        if checks:
            console.print(_table(checks, f"{self.device}, {self.dtype}{', compiled' if self.compiled else ''}"))
            console.print(f"{len(checks)} outputs, {len(failed)} beyond tolerance", highlight=False)
        return FAILED if unreadable else BEYOND_TOLERANCE if failed else 0


def _table(checks: list[tuple[Path, Check]], setting: str) -> Table:
    table = Table(caption=f"Networks on {setting}. Error: the largest absolute one, as a share of the largest expected value.")
    for name in ("file", "output", "error", "tolerance", ""):
        table.add_column(name, justify="right" if name in ("error", "tolerance") else "left", overflow="fold")
    last = None
    for path, check in checks:
        mark = Text("ok", style="green") if check.passed else Text("beyond", style="bold red")
        table.add_row("" if path == last else path.stem, check.output, f"{check.error:.1e}", f"{check.tolerance:.1e}", mark)
        last = path
    return table
