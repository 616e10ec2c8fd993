"""`tau0 card`, also called `tau0 evaluate simulator`: how good the simulator of a checkpoint is, on held-out windows of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import at_least, choose_tasks
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_file
from tau0.cli.shipped import find_checkpoint

if TYPE_CHECKING:
    from tau0.checkpoint import Checkpoint
    from tau0.evaluate.simulator_results import PhysicsCard, SimulatorCard
    from tau0.evaluate.simulator_rollouts import Film

ROLLOUTS, PICTURE_WINDOWS = 24, 40


@dataclass(frozen=True, kw_only=True)
class Card:
    """The simulator's report card: futures against copying, what actions change, sense of progress, ranking, long rollouts.

    Uses the episodes of the dataset that training holds out, or all of a dataset that it never saw. Intervals are 95% and resample
    episodes. `tau0 evaluate simulator` is the same command.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        data: The dataset it was trained on, or with --unseen another one.
        unseen: The dataset had no part in training: measure on all its episodes.
        windows: Windows of each kind of episode, at most.
        picture_windows: Of these, windows whose futures are compared as pictures: PSNR, SSIM, perceptual distance (extra report).
        rollouts: Episodes imagined from their first frame to their end.
        live: Episodes in which every candidate of every decision is imagined and really executed, for their ranking (extra sim).
        tasks: Of these episodes, such as reach-v3; those of the demo suite unless given.
        pictures: Also measure the many-step sampler that draws pictures.
        out: Where the numbers go as JSON, and beside it the same as a picture (PNG); nowhere unless given.
        seed: Of windows, noise and swaps.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    data: Path
    unseen: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    windows: int = 120
    picture_windows: int = PICTURE_WINDOWS
    rollouts: int = ROLLOUTS
    live: int = 0
    tasks: tuple[str, ...] = ()
    pictures: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    seed: int = 0

    stopped: ClassVar[str] = "Stopped. Nothing was written."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Measures, prints the tables, writes and draws."""
        at_least(1, windows=self.windows)
        at_least(0, picture_windows=self.picture_windows, rollouts=self.rollouts, live=self.live, seed=self.seed)
        folder = find_checkpoint(self.checkpoint)
        if self.out is not None:
            writable_file(self.out)

        from dataclasses import replace

        from tau0.checkpoint import load
        from tau0.evaluate.simulator_table import picture_table, simulator_table

        if self.live:
            choose_tasks("demo", self.tasks)
        checkpoint, films = load(folder), []
        with Bars(console) as bars:
            card = self._measured(checkpoint, bars, films.append)
            if self.live:
                card = replace(card, physics=self._tried(checkpoint, bars))
        title = f"{checkpoint.config.name} {checkpoint.fingerprint}"
        console.print(simulator_table(card, title))
        if card.pictures is not None:
            console.print(picture_table(card.pictures))
        if card.pictures_many_steps is not None:
            console.print(picture_table(card.pictures_many_steps, "futures as pictures, many-step sampler"))
        if self.out is not None:
            self._write(self.out, card, films, title, console)
        return 0

    def _measured(self, checkpoint: Checkpoint, bars: Bars, on_film: Callable[[Film], None]) -> SimulatorCard:
        """What recordings tell."""
        from tau0.evaluate.simulator_card import CardSpec, measure_simulator
        from tau0.evaluate.simulator_distance import load_perceptual
        from tau0.train.held_out import held_out_source
        from tau0.train.ingredients import dataset_mixture
        from tau0.train.recorded import RecordedTruth

        spec = CardSpec(
            per_kind=self.windows,
            pictures_per_kind=self.picture_windows,
            rollouts=self.rollouts,
            has_pictures=self.pictures,
            seed=self.seed,
        )
        mixture = dataset_mixture(self.data, checkpoint.config.embodiment, checkpoint.config.sampling.num_future)
        source = held_out_source(checkpoint, mixture, split="all" if self.unseen else "validation")
        return measure_simulator(
            checkpoint,
            source.gather,
            source.episodes(),
            spec,
            lambda fraction: bars.show("windows", fraction, f"{self.windows} of each kind, {self.rollouts} rollouts"),
            RecordedTruth(source, checkpoint.config.embodiment.cameras),
            load_perceptual(),
            on_film,
        )

    def _tried(self, checkpoint: Checkpoint, bars: Bars) -> PhysicsCard:
        """What running physics tells."""
        from tau0.evaluate.simulator_live import LiveSpec, measure_physics, proposer
        from tau0.worlds.registry import embodiment_of, make_world
        from tau0.worlds.rendering import choose_backend

        spec = LiveSpec(tasks=choose_tasks("demo", self.tasks), episodes=self.live)
        checkpoint.config.embodiment.check(embodiment_of(set(spec.tasks)))
        choose_backend()
        agent, told = proposer(checkpoint, spec), f"{self.live} episodes"
        return measure_physics(agent, make_world, spec, agent.execute_steps, lambda fraction: bars.show("live", fraction, told))

    def _write(self, out: Path, card: SimulatorCard, films: list[Film], title: str, console: Console) -> None:
        """The numbers, and what they look like."""
        from tau0.evaluate.simulator_picture import draw_card
        from tau0.folders import replace_text

        replace_text(out, card.to_json())
        picture = out.with_suffix(".png")
        draw_card(card, films, title, picture)
        for path in (out, picture):
            console.print(str(path), markup=False, highlight=False, soft_wrap=True)
