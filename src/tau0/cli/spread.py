"""Options of `tau0 train` for many processes, and who of them says something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from tau0.cli.arguments import UsageError, at_least

if TYPE_CHECKING:
    from tau0.train.mesh import Launch
    from tau0.train.sharded_run import ShardedRun


@dataclass(frozen=True, kw_only=True)
class Spread:
    """For `torchrun --nproc-per-node N -m tau0 train ...`: one model over all processes, on GPUs where there are some (docs/scale.md).

    Attributes:
        shard_over: Processes that share one copy of the model; all unless given.
        micro_batches: Parts in which each process takes its share of the batch.
        keep_gathered: Keep gathered weights from the forward to the backward pass: faster, more memory.
        keep_activations: Keep activations instead of computing them twice: faster, more memory.
        compile: Compile every block.
        start: Checkpoint whose weights training starts from, such as `tau0 convert` writes; fresh ones unless given.
        lora_rank: Train adapters of this rank instead of the weights.
        lora_alpha: Their scale times the rank; twice the rank unless given.
        wandb: Project of Weights & Biases to show the run in.
    """

    shard_over: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    micro_batches: int = 1
    keep_gathered: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    keep_activations: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    start: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    lora_rank: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    lora_alpha: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    wandb: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None

    def launch(self) -> Launch | None:
        """What torchrun says, or None for the ordinary way of training.

        Raises:
            UsageError: When an option makes sense on many processes only, and torchrun did not start this one.
        """
        from tau0.train.mesh import Launch

        launch = Launch.from_environment()
        at_least(1, micro_batches=self.micro_batches, shard_over=self.shard_over, lora_rank=self.lora_rank)
        if launch is None and self != Spread():
            given = [name for name in vars(self) if getattr(self, name) != getattr(Spread(), name)]
            options = ", ".join(f"--spread.{name.replace('_', '-')}" for name in given)
            raise UsageError(f"{options}: start this with torchrun (torchrun --nproc-per-node 1 -m tau0 train ... for one process)")
        return launch

    def run(self) -> ShardedRun:
        """The same as the training room has it."""
        from tau0.train.lora import LoraConfig
        from tau0.train.sharded_run import ShardedRun
        from tau0.train.sharding import ShardingConfig

        sharding = ShardingConfig(
            shard_over=self.shard_over,
            keep_gathered=self.keep_gathered,
            recompute=not self.keep_activations,
            compile=self.compile,
            micro_batches=self.micro_batches,
        )
        lora = None
        if self.lora_rank is not None:
            lora = LoraConfig(rank=self.lora_rank, alpha=2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha)
        return ShardedRun(sharding=sharding, start=self.start, lora=lora, wandb_project=self.wandb)


def quiet_unless_first(console: Console, launch: Launch | None) -> Console:
    """The console for the first process, and one that shows nothing for the others."""
    return console if launch is None or launch.rank == 0 else Console(quiet=True)
