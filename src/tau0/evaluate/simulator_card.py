"""How good a checkpoint's simulator is on held-out windows: its futures, whether actions matter to it, and its sense of progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.checkpoint import Checkpoint
from tau0.data.catalogue import KINDS, EpisodeInfo
from tau0.data.windows import Rows
from tau0.evaluate.simulator_actions import action_card, direction_of
from tau0.evaluate.simulator_distance import PerceptualDistance
from tau0.evaluate.simulator_intervals import one_minus, ratio_interval
from tau0.evaluate.simulator_passes import Passes
from tau0.evaluate.simulator_pictures import PictureMeasurement, Recorded, choose_picture_windows
from tau0.evaluate.simulator_progress import progress_card
from tau0.evaluate.simulator_results import FutureCard, RolloutCard, SimulatorCard
from tau0.evaluate.simulator_rollout_results import rollout_card
from tau0.evaluate.simulator_rollouts import Film, Rollouts, choose_rollouts
from tau0.evaluate.simulator_windows import CardWindows, WindowErrors, choose_windows
from tau0.evaluate.statistics import Interval
from tau0.tensors import Batch

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CardSpec:
    """What is measured.

    Attributes:
        per_kind: Windows of each kind of episode, at most.
        pictures_per_kind: Of these, windows whose futures are decoded and compared with what the cameras saw, at most.
        rollouts: Episodes that are imagined from their first frame to their end, at most.
        batch: Windows imagined together.
        has_pictures: Whether the many-step sampler is measured as well, five times the work.
        seed: Of windows, noise, swaps and intervals.
    """

    per_kind: int = 120
    pictures_per_kind: int = 40
    rollouts: int = 24
    batch: int = 32
    has_pictures: bool = False
    seed: int = 0


def measure_simulator(
    checkpoint: Checkpoint,
    gather: Callable[[Rows], Batch],
    episodes: Sequence[EpisodeInfo],
    spec: CardSpec | None = None,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    recorded: Recorded | None = None,
    perceptual: PerceptualDistance | None = None,
    on_film: Callable[[Film], None] = lambda _film: None,
) -> SimulatorCard:
    """The card of a checkpoint, the same for the same windows and seed; without what only running physics can tell.

    Args:
        checkpoint: Its simulator is measured with the averaged weights it ships.
        gather: The samples whose current frames are the given global rows, memory frames included.
        episodes: Those that were held out from training.
        spec: What to measure.
        on_progress: Gets the share done.
        recorded: What cameras saw and the robot measured; without it nothing is said of pictures and directions.
        perceptual: The learned distance; without it PSNR and SSIM alone are taken.
        on_film: Gets long rollouts to look at, where there are recorded pictures.

    Raises:
        DatasetError: When the held-out episodes hold no whole window, or too few to swap actions.
    """
    spec = spec or CardSpec()
    rng = np.random.default_rng(spec.seed)
    ahead = checkpoint.config.embodiment.action_horizon - 1
    windows = choose_windows(episodes, ahead, spec.per_kind, rng)
    rolled = choose_rollouts(episodes, ahead, spec.rollouts, rng)
    shown = choose_picture_windows(windows.kinds, spec.pictures_per_kind, rng) & (recorded is not None)
    samplers = ("future", "picture") if spec.has_pictures else ("future",)
    pictures = {} if recorded is None else {name: PictureMeasurement(checkpoint, recorded, perceptual) for name in samplers}
    work = _Work(on_progress)
    passes = Passes(checkpoint, gather, windows, rng, seed=spec.seed, batch=spec.batch, has_many_steps=spec.has_pictures)
    work.expect(passes.num_windows_imagined + int(shown.sum()) + sum((episode.length - 1) // ahead for episode in rolled))
    passes.run(work.done, pictures, shown)
    future, copy, families = passes.errors["future"], passes.errors["copy"], windows.families
    moving, known = _moving(windows.kinds, copy.last), passes.labelled
    in_pictures = {name: found.card(moving[shown], families[shown], rng) for name, found in pictures.items() if shown.any()}
    return SimulatorCard(
        fingerprint=checkpoint.fingerprint,
        num_windows={kind: int((windows.kinds == kind).sum()) for kind in KINDS},
        num_moving=int(moving.sum()),
        num_episodes=len(np.unique(families)),
        future=_future_card(future, copy, moving, windows, rng),
        picture=_future_card(passes.errors["picture"], copy, moving, windows, rng) if spec.has_pictures else None,
        actions=action_card(passes, moving, families, direction_of(passes, recorded, checkpoint, families, rng), rng),
        progress=progress_card(windows[known], passes.progress[known], passes.labels[known], rng),
        pictures=in_pictures.get("future"),
        pictures_many_steps=in_pictures.get("picture"),
        rollouts=_rollouts(Rollouts(checkpoint, gather, recorded, spec.seed), rolled, work.done, on_film, rng),
    )


class _Work:
    """Counts windows imagined, and says which share of all that is."""

    def __init__(self, on_progress: Callable[[float], None]) -> None:
        self._on_progress, self._total, self._count = on_progress, 1, 0

    def expect(self, total: int) -> None:
        self._total = total

    def done(self, number: int) -> None:
        self._count += number
        self._on_progress(min(1.0, self._count / self._total))


def _rollouts(
    rollouts: Rollouts,
    episodes: Sequence[EpisodeInfo],
    on_chunk: Callable[[int], None],
    on_film: Callable[[Film], None],
    rng: np.random.Generator,
) -> RolloutCard | None:
    if not episodes:
        return None
    errors, films = rollouts.run(episodes, on_chunk)
    for film in films:
        on_film(film)
    return rollout_card(errors, rng)


def _moving(kinds: NDArray[np.str_], change: Values) -> NDArray[np.bool_]:
    usual = change[kinds != "failure"]
    return change > np.median(usual if len(usual) else change)


def _gain(error: Values, copy: Values, chosen: NDArray[np.bool_], families: Rows, rng: np.random.Generator) -> Interval:
    """`1 - sum error / sum copy` over the chosen windows."""
    return one_minus(ratio_interval(error[chosen], copy[chosen], families[chosen], rng))


def _future_card(
    error: WindowErrors, copy: WindowErrors, moving: NDArray[np.bool_], windows: CardWindows, rng: np.random.Generator
) -> FutureCard:
    everyone, families, kinds = np.ones(len(windows), np.bool_), windows.families, windows.kinds
    return FutureCard(
        everywhere=_gain(error.everywhere, copy.everywhere, everyone, families, rng),
        moving=_gain(error.everywhere, copy.everywhere, moving, families, rng),
        on_what_moves=_gain(error.on_what_moves, copy.on_what_moves, everyone, families, rng),
        by_kind={kind: _gain(error.everywhere, copy.everywhere, kinds == kind, families, rng) for kind in KINDS if (kinds == kind).any()},
    )
