"""`tau0 train`: autoencoder, latents, world model, gate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro
from rich.console import Console

from tau0 import __version__
from tau0.cli.arguments import UsageError, at_least, choose
from tau0.cli.bars import Bars
from tau0.cli.folders import writable_folder
from tau0.cli.machine import machine, today, versions
from tau0.cli.shipped import named_folder
from tau0.cli.spread import Spread, quiet_unless_first
from tau0.cli.watch import Evaluation, Watch, tasks_of_a_world

if TYPE_CHECKING:
    from tau0.contract import Embodiment
    from tau0.data.mixture import MixtureSpec
    from tau0.train.picture_plan import PicturePlan
    from tau0.train.run import Recipe

MIXTURE_SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model on a dataset: autoencoder, latents, world model, and the gate of its planner.

    Every stage that is finished is skipped. Ctrl-C saves everything, and the same command goes on. The result is OUT/checkpoint.

    Attributes:
        preset: Size of the model: tiny (seconds, for trying things out), nano (the demo's, an hour on two cores), or wan5b (the published
            one, with torchrun, --spread.start and a mixture; encoders from TAU0_WAN).
        data: Folder of a dataset that `tau0 collect` wrote, or a mixture of any LeRobot datasets: a JSON file.
        out: Folder of the run.
        minutes: Time of training the world model; the preset's own unless given.
        autoencoder_minutes: Time of training the autoencoder; the preset's own unless given.
        autoencoder: Folder with an autoencoder to use instead of training one: OUT/autoencoder of another run, a checkpoint, or
            the word shipped.
        max_steps: Stop after so many steps even if time is left.
        workers: Processes, each with one thread.
        separate: Train a simulator of its own beside the policy, instead of one trunk for both.
        seed: Of initialisation, order and noise.
        checkpoint_minutes: Between two checkpoints from which training can go on.
        evaluate_minutes: Between two evaluations in closed loop, of what `tau0 collect` recorded, 0 for none. Results go to
            OUT/closed_loop.jsonl.
        evaluate_episodes: Episodes a task of such an evaluation.
        candidates: Plans a decision for which the gate is chosen.
        gate_share: Share of decisions that the gate shall let pass without simulation, above 0 and at most 1.
        on_non_finite: Stop, or leave the step out, when a loss is not a number. Either way the samples are named.
        pictures: Latents encoded ahead of time (here, or by `tau0 encode`), or video, decoded and encoded for every step: slower, and
            nothing is kept on disk.
        augment: From video, jitter and crop the pictures of every sample, each time anew.
        variants: Copies of every picture among the latents, jittered and cropped, the plain one counted; a sample takes another each time.
        cache: Folder for the rows and latents of all datasets, such as of those that must not be written to; beside each unless given.
        spread: For many processes, started by torchrun.
    """

    preset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PRESET")]
    data: Path
    out: Path
    minutes: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    autoencoder_minutes: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    autoencoder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    max_steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    workers: int = 2
    separate: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    seed: int = 0
    checkpoint_minutes: float = 3.0
    evaluate_minutes: float = 0.0
    evaluate_episodes: int = 4
    candidates: int = 8
    gate_share: float = 0.5
    on_non_finite: Literal["stop", "skip"] = "stop"
    pictures: Literal["latents", "video"] = "latents"
    augment: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    variants: int = 1
    cache: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    spread: Spread = field(default_factory=Spread)

    stopped: ClassVar[str] = "Stopped. What was finished is kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Trains, or goes on training, and chooses the gate."""
        with Bars(quiet_unless_first(console, self.spread.launch())) as bars:
            folder = self.train(bars)
            bars.say(f"{folder}: trained. Try it: tau0 demo --checkpoint {folder}")
        return 0

    def train(self, bars: Bars) -> Path:
        """The folder of the finished checkpoint. Raises `UsageError` for what cannot be, and what `tau0.train.run.run` raises."""
        recipe = self._recipe()
        writable_folder(self.out)
        if self.cache is not None:
            writable_folder(self.cache)

        import torch

        from tau0.train.gate import check_held_out
        from tau0.train.run import Callbacks, RunPlan, run
        from tau0.train.sharded_run import run_sharded

        if not self._is_mixture:
            recipe = replace(recipe, embodiment=recorded_robot(self.data))
        launch, mixture = self.spread.launch(), self._mixture(recipe)
        if not self._is_mixture:
            check_held_out(mixture)
        watch = Watch(bars, self._evaluation(mixture, bars))
        callbacks = Callbacks(on_stage=bars.show, on_note=bars.say, on_step=watch.on_step, on_checkpoint=watch.on_checkpoint)
        plan = RunPlan(
            recipe=recipe,
            mixture=mixture,
            out=self.out,
            provenance=self._provenance(mixture),
            autoencoder_from=None if self.autoencoder is None else named_folder(self.autoencoder),
            cache=self.cache,
        )
        if launch is None:
            folder = run(plan, callbacks)
        else:
            folder = run_sharded(plan, launch, self.spread.run(), callbacks)
            if launch.rank > 0:
                return folder
        torch.set_num_threads(1)  # windows are scored one by one: threads would mostly wait for each other
        self._choose_gate(folder, mixture, bars)
        return folder

    def _choose_gate(self, folder: Path, mixture: MixtureSpec, bars: Bars) -> None:
        """The gate, where something that may be imitated was held out. `check_held_out` has refused datasets of ours without."""
        from tau0.data.episodes import DatasetError
        from tau0.train.gate import check_held_out, choose_gate

        text = f"{self.candidates} plans at held-out windows"
        try:
            check_held_out(mixture)
            gate = choose_gate(
                folder,
                mixture,
                self.candidates,
                self.gate_share,
                on_progress=lambda fraction: bars.show("gate", fraction, text),
                cache=self.cache,
            )
        except DatasetError as error:
            bars.say(f"no gate, every decision will be simulated: {error}")
        else:
            bars.say(f"gate: threshold {gate.threshold:.3f}, {gate.chosen_by}")

    @property
    def _is_mixture(self) -> bool:
        """Whether the data are a file that names datasets."""
        return self.data.suffix == MIXTURE_SUFFIX

    def _mixture(self, recipe: Recipe) -> MixtureSpec:
        """What is trained on: the one dataset, or the file's."""
        from tau0.data.mixture import read_mixture
        from tau0.train.ingredients import dataset_mixture

        if recipe.embodiment is None:
            return read_mixture(self.data)
        return dataset_mixture(self.data, recipe.embodiment, recipe.sampling.num_future)

    def _recipe(self) -> Recipe:
        """What is asked for; the robot is left to the data."""
        from tau0.model.encoder_folder import EncoderFolderError
        from tau0.model.encoders import PublishedEncoders
        from tau0.presets import PRESETS
        from tau0.train.run import Recipe

        preset = PRESETS[choose("preset", self.preset, PRESETS)]()
        if preset.autoencoder is None and self.spread.start is None:
            trained = ", ".join(name for name, size in PRESETS.items() if size().autoencoder is not None)
            raise UsageError(f"preset {self.preset} is too large to train from nothing here (there are {trained}): see tau0 convert --help")
        at_least(0, seed=self.seed, evaluate_minutes=self.evaluate_minutes)
        at_least(1, workers=self.workers, evaluate_episodes=self.evaluate_episodes, candidates=self.candidates, max_steps=self.max_steps)
        at_least(0.001, minutes=self.minutes, autoencoder_minutes=self.autoencoder_minutes, checkpoint_minutes=self.checkpoint_minutes)
        pictures = self._picture_plan()
        if not 0 < self.gate_share <= 1:
            raise UsageError(f"--gate-share is {self.gate_share:g}, it must be above 0 and at most 1")
        given = preset.train
        own = given.autoencoder
        if self.autoencoder_minutes is not None:
            own = replace(own, minutes=self.autoencoder_minutes)
        train = replace(
            given,
            minutes=given.minutes if self.minutes is None else self.minutes,
            max_steps=given.max_steps if self.max_steps is None else self.max_steps,
            workers=self.workers,
            shared_trunk=not self.separate,
            seed=self.seed,
            checkpoint_minutes=self.checkpoint_minutes,
            evaluate_minutes=self.evaluate_minutes,
            evaluate_episodes=self.evaluate_episodes,
            autoencoder=own,
            on_non_finite=self.on_non_finite,
        )
        if preset.autoencoder is not None:
            own_encoder = preset.autoencoder
            return Recipe(name=self.preset, model=preset.model, autoencoder=own_encoder, train=train, pictures=pictures)
        if not self._is_mixture:
            raise UsageError(f"preset {self.preset} is trained on a mixture: --data {self.data} should be a file *{MIXTURE_SUFFIX}")
        try:
            autoencoder, text = PublishedEncoders.from_environment().describe(preset.model.trunk.text_length)
        except EncoderFolderError as error:
            raise UsageError(str(error)) from None
        return Recipe(name=self.preset, model=preset.model, autoencoder=autoencoder, text=text, train=train, pictures=pictures)

    def _picture_plan(self) -> PicturePlan:
        from tau0.train.augmentation import Augmentation
        from tau0.train.picture_plan import PicturePlan

        at_least(1, variants=self.variants)
        if self.pictures == "video" and self.variants > 1:
            raise UsageError(f"--variants {self.variants} are of latents on disk; --pictures video changes every sample with --augment")
        if self.pictures == "latents" and self.augment and self.variants == 1:
            raise UsageError("--augment changes pictures from video (--pictures video); latents on disk have --variants, such as 4")
        changes = Augmentation() if self.augment or self.variants > 1 else None
        return PicturePlan(read=self.pictures, variants=self.variants, augmentation=changes)

    def _provenance(self, mixture: MixtureSpec) -> dict[str, str]:
        from tau0.data.episodes import Dataset

        datasets = [Dataset.open(source.dataset) for source in mixture.sources]
        said = [f"{dataset.root.name}: {len(dataset)} episodes, {dataset.num_rows} rows at {dataset.fps:g} Hz" for dataset in datasets]
        minutes = self._recipe().train.minutes
        shape = "two models" if self.separate else "one trunk for both"
        return {
            "recipe": f"preset {self.preset}, {shape}, {minutes:g} minutes, {self.workers} workers, seed {self.seed}, tau0 {__version__}",
            "data": "; ".join(said),
            "machine": machine(),
            "versions": versions(),
            "date": today(),
        }

    def _evaluation(self, mixture: MixtureSpec, bars: Bars) -> Evaluation | None:
        if self.evaluate_minutes == 0:
            return None
        tasks = tasks_of_a_world(mixture)
        return Evaluation(
            every_minutes=self.evaluate_minutes, tasks=tasks, episodes=self.evaluate_episodes, workers=self.workers, out=self.out, bars=bars
        )


def recorded_robot(data: Path) -> Embodiment:
    """The robot of one of our worlds with which a dataset was recorded.

    Raises:
        DatasetError: It cannot be read.
        UsageError: It was recorded with another robot, which only a mixture can describe.
    """
    from tau0.data.episodes import Dataset
    from tau0.worlds.registry import ROBOTS

    name = Dataset.open(data).info.robot
    if name not in ROBOTS:
        raise UsageError(
            f"{data} was recorded with the robot {name or 'unknown'}, `tau0 collect` records {' or '.join(ROBOTS)}: "
            f"say what its numbers mean in a mixture, a file *{MIXTURE_SUFFIX}"
        )
    return ROBOTS[name]
