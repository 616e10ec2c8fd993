"""`tau0 card`: how good the simulator of a checkpoint is, on held-out windows of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import at_least
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_file
from tau0.cli.shipped import find_checkpoint


@dataclass(frozen=True, kw_only=True)
class Card:
    """Measure the simulator: its futures against copying the last frame, whether actions matter to it, its sense of progress.

    Uses the episodes of the dataset that training holds out, or all of a dataset that it never saw.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        data: The dataset it was trained on, or with --unseen another one.
        unseen: The dataset had no part in training: measure on all its episodes.
        windows: Windows of each kind of episode, at most.
        pictures: Also measure the many-step sampler that draws pictures.
        out: Where the numbers go as JSON; nowhere unless given.
        seed: Of windows, noise and swaps.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    data: Path
    unseen: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    windows: int = 240
    pictures: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    seed: int = 0

    stopped: ClassVar[str] = "Stopped. Nothing was written."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Measures, prints the table, writes the JSON."""
        at_least(1, windows=self.windows)
        folder = find_checkpoint(self.checkpoint)
        if self.out is not None:
            writable_file(self.out)

        from tau0.checkpoint import load
        from tau0.evaluate.simulator_card import CardSpec, measure_simulator
        from tau0.evaluate.simulator_results import simulator_table
        from tau0.train.held_out import held_out_source
        from tau0.train.ingredients import dataset_mixture

        checkpoint = load(folder)
        mixture = dataset_mixture(self.data, checkpoint.config.embodiment, checkpoint.config.sampling.num_future)
        spec = CardSpec(per_kind=self.windows, has_pictures=self.pictures, seed=self.seed)
        with Bars(console) as bars:
            split = "all" if self.unseen else "validation"
            source = held_out_source(checkpoint, mixture, split=split)
            card = measure_simulator(
                checkpoint,
                source.gather,
                source.episodes(),
                spec,
                lambda fraction: bars.show("windows", fraction, f"{self.windows} of each kind"),
            )
        console.print(simulator_table(card, f"{checkpoint.config.name} {checkpoint.fingerprint}"))
        if self.out is not None:
            self.out.write_text(card.to_json() + "\n", encoding="utf-8")
        return 0
