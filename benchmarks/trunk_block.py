"""One trunk block of the published width against plain matrix products of the same shapes, and against diffusers' block.

    python benchmarks/trunk_block.py [--rounds 15] [--threads 1]

All three have the same weights and the same 432 tokens (three views of 192 x 256, three latent frames) and attend to the same 512 tokens
of text, in float32. They run in turn; each ratio is taken within a round. Wanted: a rate of at least 0.75 of the plain products', and
never slower than diffusers. Only an idle machine gives numbers worth keeping: the spread tells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock
from rich.console import Console
from rich.table import Table
from timing import interleaved, machine, ratio, spread
from torch import Tensor

from tau0.model.attention import rotary_3d
from tau0.model.blocks import Block
from tau0.model.diffusers_names import from_diffusers
from tau0.model.weights import load_exactly
from tau0.presets import wan5b

GRID = (3, 6, 24)
AGREEMENT = 1e-4


def main(rounds: int, threads: int, clock: Callable[[], float]) -> None:
    """Measures and prints one table."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    works, flops = build()
    with torch.inference_mode():
        ours, theirs = works["our block"](), works["diffusers' block"]()
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        if difference > AGREEMENT:
            raise SystemExit(f"the two blocks differ by {difference:.2g} of the largest value: there is nothing to compare")
        seconds = interleaved(works, rounds, clock=clock)
    table = Table(title=f"trunk block, width {wan5b().model.trunk.width}, {tokens()} tokens, float32, {machine()}")
    for name in (
        "",
        "milliseconds, median (5th to 95th percentile)",
        "GFLOP/s",
        "rate relative to plain products",
        "time relative to ours",
    ):
        table.add_column(name, justify="right")
    for name, taken in seconds.items():
        table.add_row(
            name,
            str(spread([1000 * s for s in taken])),
            f"{flops / spread(taken).median / 1e9:.0f}",
            str(ratio(seconds["plain products"], taken)),
            str(ratio(taken, seconds["our block"])),
        )
    Console(width=160).print(table)


def tokens() -> int:
    """Of the canvas."""
    return GRID[0] * GRID[1] * GRID[2]


def build() -> tuple[dict[str, Callable[[], Tensor]], int]:
    """What is timed, and the floating point operations of the matrix products in it."""
    trunk = wan5b().model.trunk
    width, heads = trunk.width, trunk.num_heads
    theirs = WanTransformerBlock(width, trunk.ffn_width, heads, cross_attn_norm=True, eps=trunk.eps).eval()
    renamed = from_diffusers({f"blocks.0.{name}": tensor for name, tensor in theirs.state_dict().items()})
    ours = Block(width, trunk.ffn_width, heads, trunk.eps).eval()
    load_exactly(ours, {name.removeprefix("trunk.blocks.0."): tensor for name, tensor in renamed.items()}, "diffusers' block")
    x, text = torch.randn(1, tokens(), width), torch.randn(1, trunk.text_length, width)
    per_frame = torch.randn(1, GRID[0], 6, width)
    per_token = per_frame.repeat_interleave(GRID[1] * GRID[2], dim=1)
    rotation = rotary_3d(GRID, width // heads, x.device)
    rotary = WanRotaryPosEmbed(width // heads, trunk.patch, 1024)(
        torch.empty(1, 1, *(n * p for n, p in zip(GRID, trunk.patch, strict=True)))
    )
    products, flops = plain_products(width, trunk.ffn_width, heads, trunk.text_length)
    works: dict[str, Callable[[], Tensor]] = {
        "plain products": products,
        "our block": lambda: ours(x, per_frame, rotation, text),
        "diffusers' block": lambda: theirs(x, text, per_token, rotary),
    }
    return works, flops


def plain_products(width: int, ffn_width: int, heads: int, text_length: int) -> tuple[Callable[[], Tensor], int]:
    """The block's matrix products and nothing between them: (rows, inner, columns, how many at once), weights as `x W^T`."""
    n, head = tokens(), width // heads
    linear = [(n, width, 3 * width), (n, width, width), (n, width, width), (n, width, width), (n, width, ffn_width), (n, ffn_width, width)]
    linear += [(text_length, width, width)] * 2
    attention = [(n, head, n), (n, n, head), (n, head, text_length), (n, text_length, head)]
    pairs = [(torch.randn(rows, inner), torch.randn(columns, inner).T) for rows, inner, columns in linear]
    pairs += [(torch.randn(heads, rows, inner), torch.randn(heads, inner, columns)) for rows, inner, columns in attention]

    def products() -> Tensor:
        for left, right in pairs:
            result = left @ right
        return result

    flops = sum(2 * a * b * c for a, b, c in linear) + heads * sum(2 * a * b * c for a, b, c in attention)
    return products, flops


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processor-time", action="store_true", help="count this process's work alone: for a machine that is not idle")
    given = parser.parse_args()
    clock = time.process_time if given.processor_time else time.perf_counter
    main(given.rounds, given.threads, clock)
