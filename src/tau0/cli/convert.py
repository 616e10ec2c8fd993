"""`tau0 convert`: published weights into a checkpoint of ours, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tau0.cli.arguments import UsageError, at_least
from tau0.cli.bars import Bars
from tau0.cli.folders import check_new_folder
from tau0.cli.shipped import find_checkpoint

if TYPE_CHECKING:
    import torch

    from tau0.convert.checkpoint_folder import Conversion
    from tau0.model.config import WorldModelConfig

Dtype = Literal["as-is", "float32", "bfloat16", "float16"]
_PATH = tyro.conf.arg(metavar="PATH")


@dataclass(frozen=True, kw_only=True)
class FromPublished:
    """Make a checkpoint of ours. Give a policy, a simulator or both, or a trunk alone.

    Every tensor is accounted for, or nothing is written. Weights are a .safetensors, .bin, .pth or .pt file, an index of shards, or the
    folder of one of these. One tensor is in memory at a time.

    Attributes:
        out: Folder of the new checkpoint.
        policy: Weights of the published policy.
        simulator: Weights of the published simulator.
        trunk: Weights of the Wan 2.2 TI2V-5B transformer, under its original or diffusers' names. The experts must then be reinitialised.
        contract: A JSON file with robot, statistics and encoders (the fields of config.json), or the word published.
        statistics: A JSON file with mean and std of action and state, where the contract has none.
        simulator_statistics: The same for the simulator's actions.
        encoders: Folder of Wan 2.2 as diffusers saves it (vae, text_encoder, tokenizer), where the contract names no encoders; TAU0_WAN
            unless given. Their identities go into the checkpoint, their weights do not.
        autoencoder: Weights of our own autoencoder, where the contract has one.
        shape: JSON files with the published names of sizes, such as config.json beside the weights; the published sizes unless given.
        unified: One model with all parts, on the policy's trunk where there is one. Else a policy and a simulator are two models.
        reinitialise: Parts that start anew, as a new embodiment needs: names like action_expert.proj_in, action_expert.head, conditioning.
        dtype: Of the tensors written.
        key: Entry of a .pth file that holds the weights, where it holds more.
        seed: Of what starts anew.
        replace: The folder is a checkpoint that may be replaced.
    """

    out: Path
    policy: Annotated[Path | None, _PATH] = None
    simulator: Annotated[Path | None, _PATH] = None
    trunk: Annotated[Path | None, _PATH] = None
    contract: str = "published"
    statistics: Annotated[Path | None, _PATH] = None
    simulator_statistics: Annotated[Path | None, _PATH] = None
    encoders: Annotated[Path | None, _PATH] = None
    autoencoder: Annotated[Path | None, _PATH] = None
    shape: tuple[Path, ...] = ()
    unified: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    reinitialise: tuple[str, ...] = ()
    dtype: Dtype = "as-is"
    key: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    seed: int = 0
    replace: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    def run(self, console: Console) -> None:
        """Plans, writes, prints what became of every tensor."""
        at_least(0, seed=self.seed)
        if (self.trunk is None) == (self.policy is None and self.simulator is None):
            raise UsageError("give --policy, --simulator or both, or --trunk alone")
        conversion = self._plan()
        given = [path for path in (self.policy, self.simulator, self.trunk, self.autoencoder, self.encoders) if path is not None]
        check_new_folder(self.out, self.replace, conversion.num_bytes / 1e6, given)
        with Bars(console) as bars:
            conversion.write(self.out, _counter(bars, conversion.num_bytes))
        console.print(_table(conversion))
        console.print(f"{self.out}: written, {_gigabytes(conversion.num_bytes)}", highlight=False, soft_wrap=True)

    def _plan(self) -> Conversion:
        from tau0.convert.checkpoint_folder import Sources, plan_checkpoint
        from tau0.convert.contract import read_contract
        from tau0.convert.sources import open_source
        from tau0.model.encoders import PublishedEncoders

        policy, simulator, trunk = (
            None if path is None else open_source(path, self.key) for path in (self.policy, self.simulator, self.trunk)
        )
        shape = _shape(self.shape)
        contract = read_contract(self.contract).with_statistics(self.statistics, self.simulator_statistics)
        if not contract.names_encoders:
            published = PublishedEncoders.from_environment() if self.encoders is None else PublishedEncoders(folder=self.encoders)
            contract = contract.with_encoders(*published.describe(shape.trunk.text_length))
        return plan_checkpoint(
            Sources(policy=policy, simulator=simulator, trunk=trunk),
            contract,
            shape,
            is_unified=self.unified,
            reinitialise=self.reinitialise,
            autoencoder=self.autoencoder,
            dtype=_dtype(self.dtype),
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class ToPublished:
    """Write weights of a checkpoint of ours under their published names, with a config.json of their sizes.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        out: Folder to write.
        form: The policy or the simulator of τ0, or the trunk alone as the original Wan 2.2 or as diffusers names it.
        fused: Keep q, k and v of self-attention one tensor. diffusers' are always separate.
        dtype: Of the tensors written.
        shard_gb: Largest file; what is more goes into several and an index.
        replace: The folder is such an export that may be replaced.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    out: Path
    form: Literal["policy", "simulator", "wan", "diffusers"]
    fused: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    dtype: Dtype = "as-is"
    shard_gb: float = 10.0
    replace: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    def run(self, console: Console) -> None:
        """Plans, writes, says how much."""
        at_least(1e-6, shard_gb=self.shard_gb)

        from tau0.convert.published_folder import plan_export

        folder = find_checkpoint(self.checkpoint)
        export = plan_export(folder, self.form, is_fused=self.fused, dtype=_dtype(self.dtype))
        check_new_folder(self.out, self.replace, export.num_bytes / 1e6, [folder])
        with Bars(console) as bars:
            export.write(self.out, int(self.shard_gb * 1e9), _counter(bars, export.num_bytes))
        console.print(
            f"{self.out}: written as {self.form}, {len(export.tensors)} tensors, {_gigabytes(export.num_bytes)}; "
            f"{len(export.left)} tensors of the checkpoint are no part of it",
            highlight=False,
            soft_wrap=True,
        )


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Published weights into a checkpoint of ours (from-published), and back (to-published).

    Attributes:
        direction: Which way.
    """

    direction: Annotated[
        Annotated[FromPublished, tyro.conf.subcommand("from-published", prefix_name=False)]
        | Annotated[ToPublished, tyro.conf.subcommand("to-published", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]

    stopped: ClassVar[str] = "Stopped. Nothing was written."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Converts."""
        self.direction.run(console)
        return 0


def _shape(paths: tuple[Path, ...]) -> WorldModelConfig:
    """The shape of all parts that the files name together; the published one where there are none."""
    from tau0.model.published import from_published_shape
    from tau0.presets import wan5b

    if not paths:
        return wan5b().model
    fields: dict[str, object] = {}
    for path in paths:
        try:
            read = dict(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} is not a JSON file of sizes: {error}") from None
        if differing := [name for name in fields.keys() & read.keys() if fields[name] != read[name]]:
            raise UsageError(f"{path} has {differing[0]} {read[differing[0]]}, another file {fields[differing[0]]}")
        fields |= read
    try:
        return from_published_shape(fields)
    except KeyError as error:
        raise UsageError(f"{' and '.join(map(str, paths))}: no size {error}") from None
    except ValueError as error:
        raise UsageError(f"{' and '.join(map(str, paths))}: {error}") from None


def _dtype(name: Dtype) -> torch.dtype | None:
    import torch

    return {"as-is": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _counter(bars: Bars, total: int) -> Callable[[int], None]:
    """Shows how far writing is, told the size of every tensor."""
    done = 0

    def count(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        bars.show("writing", done / max(total, 1), f"{_gigabytes(done)} of {_gigabytes(total)}")

    return count


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _table(conversion: Conversion) -> Table:
    """What became of every tensor."""
    table = Table()
    for heading in ("file", "tensors", "start anew", "left behind in the sources"):
        table.add_column(heading, overflow="fold")
    for name, plan in conversion.plans.items():
        left = ", ".join(f"{len(names)} of {source}" for source, names in plan.left.items())
        table.add_row(name, str(len(plan.tensors)), "\n".join(plan.new_parts) or "none", left or "none")
    return table
