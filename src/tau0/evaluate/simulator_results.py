"""What is known about a simulator after it was measured: numbers with intervals, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import pydantic

from tau0.evaluate.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class FutureCard:
    """`1 - error / error of copying the current frame`, both summed over windows: 0 is no better than copying, 1 is perfect.

    Attributes:
        everywhere: All windows, all cells.
        moving: All cells of moving windows: those whose last future frame differs from the current one by more than the median
            demonstration or branch window's does (mean squared latent change).
        on_what_moves: All windows, but of each only the quarter of its cells that changes most.
        by_kind: All cells, by kind of episode.
    """

    everywhere: Interval
    moving: Interval
    on_what_moves: Interval
    by_kind: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class HorizonCard:
    """One measure of one view at one horizon, against what the camera saw; on moving windows, where not said otherwise.

    Attributes:
        seconds: After the current frame.
        imagined: Of the imagined picture.
        copied: Of the current frame through the autoencoder: as blurred as the imagined one, so that only motion tells them apart.
        kept: Of the current frame as the camera saw it.
        encoded: Of the true future through the autoencoder: the best that can be had of such latents.
        gain: By how much the imagined picture is better than the copied one, in the measure's unit; above 0 is better.
        gain_everywhere: The same over all windows.
    """

    seconds: float
    imagined: Interval
    copied: Interval
    kept: Interval
    encoded: Interval
    gain: Interval
    gain_everywhere: Interval


@dataclass(frozen=True, kw_only=True)
class PictureCard:
    """Futures as pictures.

    Attributes:
        num_windows: Windows whose pictures were compared.
        num_moving: Moving ones among them.
        perceptual: Which perceptual distance was used; "" where none was at hand.
        views: By camera and measure, one entry a horizon. Measures are "psnr_db" (mean over pictures), "ssim" (more is better) and
            "perceptual" (less is better).
    """

    num_windows: int
    num_moving: int
    perceptual: str
    views: dict[str, dict[str, tuple[HorizonCard, ...]]]


@dataclass(frozen=True, kw_only=True)
class DirectionCard:
    """Which way the robot moves in imagined futures, read from the pictures by a linear map that was fitted to other episodes.

    Correlations are over windows, between the displacement that is read (from the current frame to the last) and one that was measured,
    the mean over the state's numbers.

    Attributes:
        numbers: Of the state, those that change.
        read_from_real: Displacement read from the real future: what can be read at all.
        own: From the future imagined with the window's own actions. Wanted: near `read_from_real`.
        negated: With the opposite actions, against the same true displacement. Wanted: below 0.
        swapped: With another window's actions, against the displacement of that window. Wanted: above 0.
        motion_when_zeroed: Squared displacement read when the actions are zero, as a share of that with the own ones. Wanted: near 0.
    """

    numbers: tuple[str, ...]
    read_from_real: Interval
    own: Interval
    negated: Interval
    swapped: Interval
    motion_when_zeroed: Interval


@dataclass(frozen=True, kw_only=True)
class ActionCard:
    """By which share the error grows when a window gets other actions, with the same noise. 0: actions do not matter.

    Attributes:
        swapped: All windows, actions of a random other one.
        moving: The same on moving windows.
        same_state: Branches, each with the actions of another branch from the same state; None without branches.
        negated: Moving windows, the opposite motion.
        zeroed: Moving windows, no motion.
        drawn: Moving windows, a random action that is held.
        change: By kind of change, how much the imagined future itself changes, on moving windows: mean squared difference, as a share of
            the true change since the current frame.
        direction: Which way imagined motion goes; None where no states were recorded.
    """

    swapped: Interval
    moving: Interval
    same_state: Interval | None
    negated: Interval
    zeroed: Interval
    drawn: Interval
    change: dict[str, Interval]
    direction: DirectionCard | None


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Steps whose predicted progress lies in [low, high): what was predicted and what was true on average."""

    low: float
    high: float
    num_steps: int
    predicted: float
    true: Interval


@dataclass(frozen=True, kw_only=True)
class ProgressCard:
    """Whether predicted progress means anything, on windows whose true progress is known. What nothing is known of is None.

    Attributes:
        auroc: That a demonstration's window reaches a higher maximum than a failure's; None where one of the two is missing.
        auroc_last: The same for the last step instead of the maximum.
        auroc_late: The same for windows that start in the second half of their episode: before, a failure often looks like a success.
        ranking: Mean over branch groups of the rank correlation between `J = max progress` and the label of the last step; None
            without groups whose labels differ. The branches of a group were restored to one physical state and then really executed.
        top: Share of these groups in which the branch with the highest J has the highest label.
        top_by_chance: What a random choice would reach.
        num_groups: Such groups.
        rank_all: Rank correlation of predicted and true progress at the last step, over all windows; None where one is constant.
        rank_successes: The same over windows of demonstrations alone.
        calibration: Predicted against true progress over all steps of all windows, by bins of the prediction.
        calibration_error: Mean over steps of how far the mean truth of a step's bin is from the mean prediction there, in [0, 2].
        range: Mean over demonstrations' windows of the highest less the lowest predicted progress; None without them.
        true_range: The same of the labels.
        within: Mean over demonstrations' windows of the rank correlation between curve and label, step by step; 0 where the curve is
            constant. A head that says the same at every step cannot say where to stop.
        flat: Share of demonstrations' windows in which the predicted range is below a quarter of the true one.
    """

    auroc: Interval | None = None
    auroc_last: Interval | None = None
    auroc_late: Interval | None = None
    ranking: Interval | None = None
    top: Interval | None = None
    top_by_chance: float | None = None
    num_groups: int = 0
    rank_all: Interval | None = None
    rank_successes: Interval | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    calibration_error: Interval | None = None
    range: Interval | None = None
    true_range: Interval | None = None
    within: Interval | None = None
    flat: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class RolloutFrame:
    """One frame of all rollouts that are that long.

    Attributes:
        seconds: Since the start.
        num_rollouts: How many.
        gain: `1 - error / error of copying the first frame`, both summed over rollouts; None where nothing has moved.
        gain_late: The same against a camera that is late by one window; None where nothing moved since.
        psnr_imagined_db: Against what the cameras saw, mean over views and rollouts; None without recorded pictures.
        psnr_copied_db: That of the first frame, through the autoencoder.
    """

    seconds: float
    num_rollouts: int
    gain: Interval | None
    gain_late: Interval | None
    psnr_imagined_db: Interval | None
    psnr_copied_db: Interval | None


@dataclass(frozen=True, kw_only=True)
class RolloutCard:
    """Recorded actions from an episode's first frame to its end, every chunk imagined from imagined frames.

    A rollout breaks where it is for good no nearer to the truth than the frame it began with (mean squared latent error). Long before
    that it may be no better than a camera that is late by one window, which is how far the simulator looks ahead at once.

    Attributes:
        num_rollouts: Episodes.
        horizon_s: Seconds until the error summed over rollouts stays above copying's.
        is_broken: Whether that happens before the recordings end; otherwise `horizon_s` is only how long they are.
        late_horizon_s: Seconds until the summed error stays above that of a camera that is late by one window.
        is_late: Whether that happens before the recordings end.
        unbroken: Share of rollouts that are better than copying at their end.
        lasted: Share of all recorded frames before a rollout's own break.
        frames: Those on which enough rollouts can be compared.
    """

    num_rollouts: int
    horizon_s: Interval
    is_broken: bool
    late_horizon_s: Interval
    is_late: bool
    unbroken: Interval
    lasted: Interval
    frames: tuple[RolloutFrame, ...]


@dataclass(frozen=True, kw_only=True)
class PhysicsCard:
    """The policy's own candidates, each imagined and each really executed from the same restored state, the expert finishing after it.

    Executed are as many steps of each as a robot executes before the next query, and over these its imagined progress is compared.

    Attributes:
        num_states: States in which candidates were tried.
        num_candidates: In each.
        num_decided: States in which the candidates' outcomes differ, so that there is something to rank.
        progress: Of two candidates with different outcomes, how often the simulator promises more of the better one; chance is one half.
            None where no outcomes differ.
        score: The same for the consistency score.
        top: Share of decided states in which the candidate that promises most is among the best.
        top_by_chance: What a random choice would reach.
    """

    num_states: int
    num_candidates: int
    num_decided: int
    progress: Interval | None
    score: Interval | None
    top: Interval | None
    top_by_chance: float | None


@dataclass(frozen=True, kw_only=True)
class SimulatorCard:
    """The measurement of one checkpoint. Intervals are 95%, from resampling held-out episodes, each with its branches.

    Attributes:
        fingerprint: Of the checkpoint.
        num_windows: By kind of episode.
        num_moving: Moving windows.
        num_episodes: Held-out episodes that windows come from, a demonstration and its branches counting as one.
        future: Of the sampler that ranks candidates.
        picture: Of the many-step sampler; None where it was not measured.
        actions: Sensitivity to actions.
        progress: Of predicted progress.
        pictures: Futures as pictures; None without a recording.
        pictures_many_steps: The same of the many-step sampler, where it was measured.
        rollouts: Long rollouts; None without episodes of two chunks, or where none were asked for.
        physics: Ranking in running physics; None where it was not asked for.
    """

    fingerprint: str
    num_windows: dict[str, int]
    num_moving: int
    num_episodes: int
    future: FutureCard
    picture: FutureCard | None
    actions: ActionCard
    progress: ProgressCard
    pictures: PictureCard | None = None
    pictures_many_steps: PictureCard | None = None
    rollouts: RolloutCard | None = None
    physics: PhysicsCard | None = None

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> SimulatorCard:
        """Inverse of `to_json`. Raises `pydantic.ValidationError` naming each field that does not fit."""
        return pydantic.TypeAdapter(cls).validate_json(text)
