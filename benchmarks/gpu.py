"""Everything about speed and memory on a GPU, in one call: queries, the full loop, training steps. Random weights, published shape.

    python benchmarks/gpu.py [--preset wan5b] [--device cuda] [--rounds 50] [--batch 16] [--out gpu.json]

Without a GPU it runs at `tiny` on the CPU, which shows that it works and measures nothing of interest. The VAE and the text encoder are
left out. Inference holds the weights of matrix products in bfloat16; training holds all in float32 and multiplies in bfloat16. Each work
is timed as it is, with compiled blocks, and compiled and replayed from a CUDA graph (training not); times are synchronised. The share is
of the rate of a square matrix product, measured first, and counts useful operations alone. What fails says so in its row.

Aims on an H200: query <= 25 ms, full loop <= 500 ms, training >= 50%.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from loop import SAMPLING, TRAIN, Queries, Scene, Training, build, halve, prepare
from rich.console import Console
from rich.table import Table
from timing import interleaved, machine, spread

from tau0.model.config import WorldModelConfig
from tau0.presets import preset
from tau0.train.costs import policy_work, simulator_work
from tau0.train.meter import measured_peak

SCENES = {"wan5b": Scene(views=3, height=12, width=16), "tiny": Scene(views=2, height=4, width=4)}
CANDIDATES, LOOP_CANDIDATES = (1, 16), 4
MODES = ("as it is", "compiled", "compiled, CUDA graph")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement. `error` says why there is none."""

    work: str
    mode: str
    median_ms: float | None = None
    p95_ms: float | None = None
    memory_gib: float | None = None
    share_of_peak: float | None = None
    error: str = ""


def main(name: str, device: torch.device, rounds: int, batch: int, out: Path | None) -> list[Row]:
    """Measures everything, and prints and returns it. What fails is reported in its row, and the rest still runs."""
    torch.manual_seed(0)
    config, scene, peak = preset(name).model, SCENES[name], measured_peak(device)
    rows: list[Row] = []
    for mode in MODES if device.type == "cuda" else MODES[:1]:
        rows += _inference(config, scene, device, rounds, mode, peak)
        if mode != MODES[2]:
            for part in ("policy", "simulator"):
                rows.append(_training(part, config, scene, device, max(rounds // 5, 1), batch, mode, peak))
    console = Console(width=140)
    console.print(_table(rows, f"{name}, batch {batch} in training, {_where(device)}, measured peak {peak / 1e12:.3g} TFLOP/s"))
    if out is not None:
        found = {"preset": name, "device": _where(device), "peak_flops": peak, "batch": batch, "rows": [asdict(row) for row in rows]}
        out.write_text(json.dumps(found, indent=2) + "\n")
    return rows


def _inference(config: WorldModelConfig, scene: Scene, device: torch.device, rounds: int, mode: str, peak: float) -> Iterator[Row]:
    """Queries of one and of sixteen candidates, and the full loop."""
    _forget(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False):
        model = build(config, device)
        if device.type == "cuda":
            halve(model)
        prepare(model, compiled=mode != MODES[0], recompute=False)
        queries = Queries(model.eval(), scene, device)
        graphed = mode == MODES[2]
        for n in CANDIDATES:
            calls = SAMPLING.action_steps + (n > 1)
            flops = policy_work(config, scene.shape(config, draws=calls * n)).forward
            yield _row(f"query, candidates: {n}", mode, device, rounds, flops / peak, lambda n=n: _query(queries, n, graphed))
        n = LOOP_CANDIDATES
        imagine = simulator_work(config, scene.shape(config), progress_shapes_trunk=False).forward * n * SAMPLING.rank_steps
        flops = 2 * (policy_work(config, scene.shape(config, draws=(SAMPLING.action_steps + 1) * n)).forward + imagine)
        yield _row(f"propose, simulate, revise, candidates: {n}", mode, device, rounds, flops / peak, lambda: _loop(queries, n, graphed))


def _training(
    part: str, config: WorldModelConfig, scene: Scene, device: torch.device, rounds: int, batch: int, mode: str, peak: float
) -> Row:
    """One step with activation checkpointing of the published policy's or simulator's parts."""
    _forget(device)
    own = config.policy if part == "policy" else config.simulator
    shape = scene.shape(config, draws=TRAIN.action_draws)
    work = policy_work(own, shape) if part == "policy" else simulator_work(own, shape, progress_shapes_trunk=False)

    def ready() -> Callable[[], object]:
        model = build(own, device)
        prepare(model, compiled=mode != MODES[0], recompute=True)
        return Training(model, scene, batch, device).step

    return _row(f"training step, {part}", mode, device, rounds, work.total * batch / peak, ready)


def _query(queries: Queries, n: int, graphed: bool) -> Callable[[], object]:
    def query() -> object:
        return queries.propose(n, queries.future)

    return _captured(query)[0] if graphed else query


def _loop(queries: Queries, n: int, graphed: bool) -> Callable[[], object]:
    """The planner's algorithm with a gate that fails: the host sees the progress of both rounds, and nothing else."""
    first, second = (lambda: queries.propose_and_simulate(n)), (lambda: queries.revise_and_simulate(n))
    if graphed:
        (first, futures), (second, revised) = _captured(first), _captured(second)

    def loop() -> None:
        imagined = first() or futures
        best = int(imagined.progress.amax(dim=1).argmax())
        queries.partial.copy_(imagined.partial[best : best + 1])
        (second() or revised).progress.cpu()

    return loop


def _captured(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """A CUDA graph's replay, and the output that each replay fills anew."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = work()
    return graph.replay, output


def _row(name: str, mode: str, device: torch.device, rounds: int, ideal_s: float, ready: Callable[[], Callable[[], object]]) -> Row:
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    try:
        work = ready()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = interleaved({name: work}, rounds, warm_up=3, synchronise=synchronise)[name]
    except Exception as error:
        return Row(work=name, mode=mode, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    taken = spread(seconds)
    median, p95 = 1000 * taken.median, 1000 * taken.high
    return Row(work=name, mode=mode, median_ms=median, p95_ms=p95, memory_gib=memory, share_of_peak=ideal_s / taken.median)


def _forget(device: torch.device) -> None:
    """Frees the last model, so that its memory is not counted to the next."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _where(device: torch.device) -> str:
    return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}" if device.type == "cuda" else f"no GPU: {machine()}"


def _table(rows: list[Row], title: str) -> Table:
    table = Table(title=title)
    for name in ("work", "mode", "median ms", "p95 ms", "memory GiB", "share of peak"):
        table.add_column(name, justify="left" if name in ("work", "mode") else "right")
    for row in rows:
        numbers = [row.median_ms, row.p95_ms, row.memory_gib]
        cells = ["-" if x is None else f"{x:.2f}" for x in numbers] + ["-" if row.share_of_peak is None else f"{row.share_of_peak:.1%}"]
        table.add_row(row.work, row.mode, *([row.error] if row.error else cells))
    return table


if __name__ == "__main__":
    has_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(SCENES), default="wan5b" if has_gpu else "tiny")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda" if has_gpu else "cpu"))
    parser.add_argument("--rounds", type=int, default=50 if has_gpu else 3)
    parser.add_argument("--batch", type=int, default=16 if has_gpu else 2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    main(given.preset, given.device, given.rounds, given.batch, given.out)
