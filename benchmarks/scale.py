"""What training at the published size on the published corpus costs: the tables of docs/scale.md, recomputed.

    python benchmarks/scale.py [DOCUMENT]

Prints the tables, and puts them between their marks into the document where one is given. Formulas are in `tau0.train.costs` and
`tau0.train.memory`, where tests compare them with what PyTorch counts and keeps. What is assumed and not computed is listed below.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tau0.presets import wan5b
from tau0.train.costs import SampleShape, policy_work, simulator_work
from tau0.train.memory import block_input_bytes, count_parameters, gathered_bytes, kept_bytes

HOURS, RATE_HZ = 17_800 + 6_500 + 3_000, 30
WINDOW_EVERY = 32
"""Rows between two windows: with 33 steps a window, every action is learned once a pass."""

SHAPE = SampleShape(views=3, height=192 // 16, width=256 // 16, memory=3, future=2, horizon=33)
STATE_NUMBERS, ACTION_NUMBERS = 20, 20
CHIP_BYTES, PEAK = 141e9, 790e12
"""An H200: its memory, and what its bfloat16 matrix products were measured at. Its data sheet says 989e12."""

UTILISATION = 0.4
"""Assumed, not measured: share of that peak which is useful work."""

INSIDE, BETWEEN = 450e9, 50e9
"""Assumed bytes a second of one GPU: to others of its machine of eight (NVLink), and to other machines (a 400 Gb/s adapter each)."""

MACHINE = 8
GPUS = (8, 64, 512)

MODEL = wan5b().model
COUNTS = count_parameters(MODEL)
POLICY = policy_work(MODEL, SHAPE)
SIMULATOR = simulator_work(MODEL, SHAPE, progress_shapes_trunk=False)
ROWS = HOURS * 3600 * RATE_HZ
SAMPLES = ROWS // WINDOW_EVERY

Table = list[Sequence[str]]


def corpus() -> Table:
    """The data in numbers."""
    channels = MODEL.trunk.latent_channels
    frame = channels * SHAPE.height * SHAPE.width * SHAPE.views * 2
    numbers = ROWS * (STATE_NUMBERS + 2 * ACTION_NUMBERS + 1) * 4
    policy, simulator = (SHAPE.tokens(MODEL.trunk, frames) for frames in (SHAPE.policy_frames, SHAPE.simulator_frames))
    return [
        ("", "formula", "value"),
        ("rows", f"{HOURS:,} h x 3600 s x {RATE_HZ} Hz", f"{ROWS:.3g}"),
        ("windows of one pass", f"rows / {WINDOW_EVERY}", f"{SAMPLES:.3g}"),
        ("video tokens of a policy sample", f"{SHAPE.policy_frames} frames x 3 views x 6 x 8", f"{policy:,}"),
        ("video tokens of a simulator sample", f"{SHAPE.simulator_frames} frames x 3 views x 6 x 8", f"{simulator:,}"),
        ("video tokens of one pass, both", "windows x (the two above)", f"{SAMPLES * (policy + simulator):.3g}"),
        ("latents of one row, float16", f"3 views x {channels} x 12 x 16 x 2 B", f"{frame / 1e3:.1f} kB"),
        ("latents of every row", "rows x that", f"{ROWS * frame / 1e12:.0f} TB"),
        ("latents of every fourth row, which windows see", "a quarter", f"{ROWS * frame / 4e12:.0f} TB"),
        ("latents read for one sample", f"{SHAPE.simulator_frames} frames x 3 views", f"{SHAPE.simulator_frames * frame / 1e3:.0f} kB"),
        ("states, actions, advice, progress, float32", "rows x 61 x 4 B", f"{numbers / 1e9:.0f} GB"),
        ("one shuffled order of all windows, int64", "windows x 8 B", f"{SAMPLES * 8 / 1e9:.1f} GB"),
    ]


def operations() -> Table:
    """Useful floating-point operations."""
    rows: Table = [("sample", "forward", "backward", "together", "with recomputation", "one pass")]
    for name, work in (("policy", POLICY), ("simulator", SIMULATOR), ("both", POLICY + SIMULATOR)):
        numbers = (work.forward, work.backward, work.total, work.total + work.forward)
        rows.append((name, *(f"{n / 1e12:.1f} TFLOP" for n in numbers), f"{SAMPLES * work.total:.2e}"))
    return rows


def memory() -> Table:
    """Bytes of one GPU."""
    rows: Table = [("sharding", *(f"{n} GPUs" for n in GPUS), "room for activations at 64")]
    for name, keep, over in (
        ("whole on every GPU", False, lambda _n: 1),
        ("by machine of 8, copies between", False, lambda _n: MACHINE),
        ("over all", False, lambda n: n),
        ("over all, gathered weights kept", True, lambda n: n),
    ):
        sizes = [kept_bytes(COUNTS, over(n)) + gathered_bytes(COUNTS, over(n), keep_gathered=keep) for n in GPUS]
        left = CHIP_BYTES - sizes[1]
        rows.append((name, *(f"{size / 1e9:.1f} GB" for size in sizes), f"{left / 1e9:.0f} GB" if left > 0 else "does not fit"))
    return rows


def activations() -> Table:
    """Bytes that one sample keeps."""
    rows: Table = [("sample", "inputs of blocks, kept with recomputation", "samples in 60 GB")]
    for stream in ("policy", "simulator"):
        kept = block_input_bytes(MODEL, SHAPE, stream)
        rows.append((stream, f"{kept / 1e6:.0f} MB", f"{60e9 / kept:.0f}"))
    return rows


def traffic_s(gpus: int, *, by_machine: bool) -> float:
    """Seconds of moving weights and gradients for one pass of one stream: two gathers in bfloat16, gradients in float32."""
    size = COUNTS.sharded
    if gpus <= MACHINE:
        return 8 * size * (gpus - 1) / gpus / INSIDE
    if not by_machine:
        return 8 * size * (gpus - 1) / gpus / BETWEEN
    machines = gpus // MACHINE
    return 8 * size * (MACHINE - 1) / MACHINE / INSIDE + 2 * 4 * size / MACHINE * (machines - 1) / machines / BETWEEN


def time() -> Table:
    """How long one pass takes, and how many samples a GPU must have so that traffic hides behind work."""
    useful = UTILISATION * PEAK
    head = (
        "GPUs",
        "one pass",
        "samples/s",
        "latents read",
        "traffic, over all",
        "by machine",
        "samples to hide it, over all",
        "by machine",
    )
    rows: Table = [head]
    a_sample = (POLICY.total + SIMULATOR.total) / 2 / useful
    for n in GPUS:
        seconds = SAMPLES * (POLICY.total + SIMULATOR.total) / useful / n
        flat, grouped = (traffic_s(n, by_machine=by_machine) for by_machine in (False, True))
        rate = SAMPLES / seconds
        read = rate * SHAPE.simulator_frames * MODEL.trunk.latent_channels * SHAPE.height * SHAPE.width * SHAPE.views * 2
        length = f"{seconds / 86400:.1f} days" if seconds > 86400 else f"{seconds / 3600:.1f} h"
        rows.append(
            (f"{n}", length, f"{rate:,.0f}", f"{read / 1e6:,.0f} MB/s", f"{flat:.2f} s", f"{grouped:.2f} s",
             f"{flat / a_sample:.0f}", f"{grouped / a_sample:.0f}")
        )  # fmt: skip
    return rows


TABLES = {"corpus": corpus, "operations": operations, "memory": memory, "activations": activations, "time": time}


def markdown(table: Table) -> str:
    """The table as Markdown; the first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([head, "|" + "---|" * len(table[0]), *body])


def filled(document: str) -> str:
    """The document with every table between its marks recomputed."""
    for name, table in TABLES.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if not mark.search(document):
            raise ValueError(f"the document has no place for the table {name}: <!-- {name} --> .. <!-- end of {name} -->")
        document = mark.sub(lambda found, table=table: f"{found[1]}{markdown(table())}\n{found[2]}", document)
    return document


def main(arguments: Sequence[str]) -> None:
    """Prints the tables, or writes them into the document."""
    console = Console()
    for path in map(Path, arguments):
        path.write_text(filled(path.read_text()))
    if not arguments:
        for name, table in TABLES.items():
            console.print(f"{name}\n\n{markdown(table())}\n", soft_wrap=True, markup=False, highlight=False)


if __name__ == "__main__":
    main(sys.argv[1:])
