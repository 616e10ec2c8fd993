"""What reading data costs: samples a second from video and from cached latents, memory, and the time to open.

    python benchmarks/data.py [--size nano] [--dataset FOLDER --description NAME --layout NAME --hz RATE --cameras ROLE ..]

Without a dataset it measures on a made-up one, whose numbers are random and whose every episode shows the same short video. Wanted: from
video, without the autoencoder, at least 60% of the samples a second of PyAV decoding the same frames and nothing else; from cached latents
at least 20 times as many as from video; memory flat over 10,000 samples, and the same for ten thousand rows as for a million; 1,000
episodes opened in under 2 s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median

import torch
from recordings import write_recording
from recordings.reading import Decoder, Stream, TimedEncoder, What, cached, chosen
from rich.console import Console
from rich.table import Table
from timing import Spread, interleaved, machine, ratio, spread

from tau0.contract import Camera
from tau0.data.episodes import Dataset
from tau0.train.picture_encoder import PictureEncoder
from tau0.train.pictures_video import LatentsFromVideo

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Samples a second by what is done, and quotients of two within a round."""

    rates: dict[str, Spread]
    quotients: dict[str, Spread]


def throughput(what: What, *, batch: int, rounds: int, clock: Clock = time.perf_counter) -> Throughput:
    """Times a step of each way of reading in turn, another step every round."""
    stream, autoencoder = Stream(what, batch), what.autoencoder()
    encoder = TimedEncoder(autoencoder, clock)
    video = stream.read_by(LatentsFromVideo(stream.aligned, stream.pictures, encoder))
    ready = stream.read_by(cached(stream, autoencoder))
    decoder = Decoder(stream, ready)
    wanted, busy = iter([decoder.wanted(step) for step in range(rounds + 1)]), []
    video_steps, cached_steps, chosen_steps = count(), count(), count()

    def from_video() -> None:
        before = encoder.seconds
        video.batch("simulator", next(video_steps))
        busy.append(encoder.seconds - before)

    works: dict[str, Callable[[], object]] = {
        "decoding alone": lambda: decoder.decode(next(wanted)),
        "from video": from_video,
        "from cached latents": lambda: ready.batch("simulator", next(cached_steps)),
        "choosing samples alone": lambda: chosen(ready, next(chosen_steps)),
    }
    seconds = interleaved(works, rounds, clock=clock)
    decoder.close()
    without = [all_of_it - own for all_of_it, own in zip(seconds["from video"], busy[1:], strict=True)]
    seconds["from video, without the autoencoder"] = without
    return Throughput(
        rates={name: spread([batch / s for s in taken]) for name, taken in seconds.items()},
        quotients={
            "video without the autoencoder / decoding": ratio(seconds["decoding alone"], without),
            "video / decoding": ratio(seconds["decoding alone"], seconds["from video"]),
            "cached / video": ratio(seconds["from video"], seconds["from cached latents"]),
            "cached / video without the autoencoder": ratio(without, seconds["from cached latents"]),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How much a process holds while it reads.

    Attributes:
        rows: Of the dataset.
        samples: How many it had read when it was looked at.
        own: Bytes that are its own, at each.
        resident: Bytes with those of files it has mapped, which the system takes back when it wants, at each.
    """

    rows: int
    samples: list[int]
    own: list[int]
    resident: list[int]

    def growth(self) -> float:
        """Bytes by which its own memory was larger, in the median, over the last third of samples than over the third before."""
        third = max(1, len(self.own) // 3)
        return median(self.own[-third:]) - median(self.own[-2 * third : -third] or self.own[:1])


def memory(what: What, *, batch: int, samples: int, points: int = 10) -> Memory:
    """Reads samples from video, one step after another, and looks at this process now and then."""
    stream = Stream(what, batch)
    video = stream.read_by(LatentsFromVideo(stream.aligned, stream.pictures, PictureEncoder(what.autoencoder())))
    taken, own, resident = [], [], []
    every = max(1, samples // batch // points)
    for step in range(samples // batch):
        video.batch("simulator", step)
        if (step + 1) % every == 0:
            taken.append((step + 1) * batch)
            own.append(_kilobytes("RssAnon") * 1024)
            resident.append(_kilobytes("VmRSS") * 1024)
    return Memory(rows=stream.aligned.num_rows, samples=taken, own=own, resident=resident)


def memory_elsewhere(root: Path, *, batch: int, samples: int, pixels: int) -> Memory:
    """`memory` of a made-up dataset, in a process of its own."""
    numbers = {"--batch": batch, "--samples": samples, "--pixels": pixels}
    command = [sys.executable, str(Path(__file__).resolve()), "--memory-of", str(root), *(str(x) for item in numbers.items() for x in item)]
    return Memory(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def opening(what: What, rounds: int, clock: Clock = time.perf_counter) -> dict[str, list[float]]:
    """Seconds to open a dataset, as it was recorded and as it was aligned before."""
    what.aligned()
    return interleaved({"as recorded": lambda: Dataset.open(what.dataset), "as aligned before": what.aligned}, rounds, clock=clock)


def made_up(root: Path, *, size: str, pixels: int, episodes: int = 0, length: int = 0) -> What:
    """A made-up dataset; written first unless it is there."""
    if not root.is_dir():
        write_recording(root, episodes=episodes, length=length, size=pixels)
    cameras = tuple(Camera(name=name, height=pixels, width=pixels) for name in ("front", "wrist"))
    return What(dataset=root, description="metaworld", layout="metaworld", rate_hz=80.0, cameras=cameras, size=size)


def tables(read: Throughput, opened: dict[str, list[float]], held: Sequence[Memory]) -> list[Table]:
    """Everything for people."""
    rates = Table("work", "samples a second, median (5th to 95th percentile)", title=f"reading, {machine()}")
    for name, rate in (*read.rates.items(), *read.quotients.items()):
        rates.add_row(name, str(rate))
    times = Table("opening", "milliseconds")
    for name, seconds in opened.items():
        times.add_row(name, str(spread([1000 * s for s in seconds])))
    sizes = Table("rows", "samples read", "own memory", "with mapped files", title="memory, in MiB")
    grown = "; ".join(f"{one.rows:,} rows: {one.growth() / 2**20:+.1f}" for one in held)
    sizes.caption = f"own memory, its median over the last third of samples beside that over the middle third: {grown}"
    for one in held:
        for numbers in zip(one.samples, one.own, one.resident, strict=True):
            sizes.add_row(f"{one.rows:,}", f"{numbers[0]:,}", *(f"{n / 2**20:.1f}" for n in numbers[1:]))
    return [rates, times, sizes]


def main(folder: Path, what: What | None, *, size: str, rounds: int, batch: int, samples: int, lengths: Sequence[tuple[int, int]],
         pixels: int, clock: Clock) -> list[Table]:  # fmt: skip
    """Measures everything, with made-up datasets of `lengths` (episodes, rows of each) in `folder`, and prints it."""
    fakes = [
        made_up(folder / f"{episodes}x{rows}", size="tiny", pixels=pixels, episodes=episodes, length=rows) for episodes, rows in lengths
    ]
    small = made_up(fakes[0].dataset, size=size, pixels=pixels)
    read = throughput(what or small, batch=batch, rounds=rounds, clock=clock)
    opened = opening(fakes[-1], rounds, clock)
    held = [memory_elsewhere(fake.dataset, batch=batch, samples=samples, pixels=pixels) for fake in fakes]
    found = tables(read, opened, held)
    console = Console(width=120)
    for table in found:
        console.print(table)
    return found


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="nano", help="whose autoencoder")
    parser.add_argument("--dataset", type=Path, help="measure throughput on this one instead of a made-up one")
    parser.add_argument("--description", default="metaworld")
    parser.add_argument("--layout", default="metaworld")
    parser.add_argument("--hz", type=float, default=80.0)
    parser.add_argument("--cameras", nargs="+", default=["front", "wrist"], help="roles")
    parser.add_argument("--pixels", type=int, default=64, help="height and width that the model sees")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--samples", type=int, default=10_000, help="read while memory is watched")
    parser.add_argument("--folder", type=Path, help="keep made-up datasets here")
    parser.add_argument("--processor-time", action="store_true", help="count this process's work alone: for a machine that is not idle")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    torch.set_num_threads(1)
    if given.memory_of:
        of = made_up(given.memory_of, size="tiny", pixels=given.pixels)
        sys.stdout.write(json.dumps(asdict(memory(of, batch=given.batch, samples=given.samples))))
        sys.exit()
    cameras = tuple(Camera(name=name, height=given.pixels, width=given.pixels) for name in given.cameras)
    what = given.dataset and What(
        dataset=given.dataset, description=given.description, layout=given.layout, rate_hz=given.hz, cameras=cameras, size=given.size
    )
    clock = time.process_time if given.processor_time else time.perf_counter
    with tempfile.TemporaryDirectory() as temporary:
        main(
            given.folder or Path(temporary), what, size=given.size, rounds=given.rounds, batch=given.batch, samples=given.samples,
            lengths=((10, 1000), (1000, 1000)), pixels=given.pixels, clock=clock,
        )  # fmt: skip
