"""The gate's threshold from held-out windows, and how far the score that it judges can be trusted there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tau0 import checkpoint as checkpoints
from tau0.checkpoint import Checkpoint, GateConfig, ScoreError
from tau0.data.episodes import Dataset, DatasetError, EpisodeInfo
from tau0.data.mixture import MixtureSpec
from tau0.data.split import split_episodes
from tau0.encode import executable_actions
from tau0.plan import gate
from tau0.plan.motion import chunk_motion
from tau0.plan.planner import STILL_BELOW
from tau0.plan.score import redenoising_consistency, relative_to_motion, shared_noise
from tau0.plan.selectors import moving
from tau0.policy.policy import VideoActionPolicy
from tau0.simulate.simulator import ActionConditionedSimulator
from tau0.tensors import Batch, Conditioning
from tau0.train.held_out import held_out_source
from tau0.train.source import TrainingSource
from tau0.views import views_to_canvas

SIGMAS = (0.6,)
ERROR: ScoreError = "relative"
"""What the scores of a gate divide their errors by; chosen by what candidates really lead to (ADR 0010)."""
SIMULATED_EVERY = 3
"""Of the windows that are scored, one in so many is simulated as well, which takes ten times as long."""


@dataclass(frozen=True, kw_only=True)
class ScoredWindows:
    """What the policy proposed at held-out windows.

    Attributes:
        scores: RCS of each candidate, of relative errors, shape (windows, n).
        errors: Mean squared distance of each candidate to the expert's chunk, in normalised units, shape (windows, n).
        promises: Highest simulated progress of each candidate under two different noises, at some of the windows, shape (2, some, n).
        is_moving: Which candidates the planner would let win: see `moving`, shape (windows, n).
    """

    scores: NDArray[np.float64]
    errors: NDArray[np.float64]
    promises: NDArray[np.float64]
    is_moving: NDArray[np.bool_]

    @property
    def allowed_scores(self) -> NDArray[np.float64]:
        """The scores, minus infinity for candidates that may not win, shape (windows, n): their highest is what the gate is asked."""
        return np.where(self.is_moving, self.scores, -np.inf)

    def in_words(self) -> str:
        """How well the score predicts the error: between windows, between the candidates of one window, and by choosing the best."""
        best = self.allowed_scores.argmax(axis=1)
        chosen = np.take_along_axis(self.errors, best[:, None], axis=1)[:, 0]
        within = [_rank_correlation(s, -e) for s, e in zip(self.scores, self.errors, strict=True)]
        between = _rank_correlation(self.allowed_scores.max(axis=1), -chosen)
        saved = 1 - chosen.mean() / self.errors.mean()
        return (
            f"on {len(chosen)} held-out windows with {self.scores.shape[1]} candidates: rank correlation of score and nearness to "
            f"the expert {between:.2f} between windows, {np.mean(within):.2f} within one; "
            f"the best score is {saved:.1%} nearer than a random candidate"
        )


def check_held_out(mixture: MixtureSpec) -> None:
    """Refuses, before hours of training, a dataset on which no gate could be chosen at their end.

    Raises:
        DatasetError: When no held-out window may be imitated.
    """
    action_horizon, held_out = mixture.action_horizon, list[EpisodeInfo]()
    for source in mixture.sources:
        dataset = Dataset.open(source.dataset)
        taken = source.select.numbers(dataset.episodes, str(source.dataset))
        if "action" in source.description.supervises:
            held_out += split_episodes([episode for episode in dataset.episodes if episode.index in taken])["validation"]
    if not any(episode.teaches_policy and episode.length >= action_horizon for episode in held_out):
        names = ", ".join(str(source.dataset) for source in mixture.sources)
        raise DatasetError(
            f"{names} leaves no demonstration of {action_horizon} steps to be held out, on which the gate is chosen: "
            "record at least two for a task"
        )


def choose_gate(
    folder: Path,
    mixture: MixtureSpec,
    num_candidates: int = 8,
    share: float = 0.5,
    num_windows: int = 200,
    num_noises: int = 2,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    cache: Path | None = None,
) -> GateConfig:
    """The gate that `share` of held-out decisions pass, and the simulator's margin, written into the checkpoint's config.

    Args:
        folder: The checkpoint.
        mixture: What it was trained on; its validation split is used.
        num_candidates: Chunks proposed at each window.
        share: In (0, 1]: how many decisions shall be executed without simulation.
        num_windows: Held-out windows, at most.
        num_noises: Shared noises of the score.
        seed: Of windows and noise.
        on_progress: Gets the share done.
        cache: Folder with rows and latents of all datasets; beside each unless given.

    Raises:
        CheckpointError: When the folder is not a whole checkpoint.
        ContractError: When the dataset does not fit it.
        DatasetError: When no held-out window may be imitated.
        ValueError: When an argument is out of range.
    """
    if num_candidates < 1 or num_windows < 1 or num_noises < 1:
        raise ValueError(f"candidates, windows and noises must be at least 1, got {num_candidates}, {num_windows} and {num_noises}")
    checkpoint = checkpoints.load(folder)
    source = held_out_source(checkpoint, mixture, seed, cache=cache)
    scored = score_windows(checkpoint, source, num_candidates, num_windows, num_noises, seed, on_progress)
    best = scored.allowed_scores.max(axis=1).tolist()
    chosen = gate.choose_gate(best, share, SIGMAS, num_noises, gate.choose_margin(scored.promises), ERROR)
    chosen = replace(chosen, chosen_by=f"{chosen.chosen_by}; {scored.in_words()}", num_candidates=num_candidates)
    checkpoints.save_config(replace(checkpoint.config, gate=chosen), folder)
    return chosen


@torch.inference_mode()
def score_windows(
    checkpoint: Checkpoint,
    source: TrainingSource,
    num_candidates: int,
    num_windows: int,
    num_noises: int,
    seed: int,
    on_progress: Callable[[float], None] = lambda _fraction: None,
) -> ScoredWindows:
    """Scores and errors of candidates at random windows of the source that may be imitated to their end.

    Raises:
        DatasetError: When there is no such window.
    """
    policy, simulator, num_memory = VideoActionPolicy(checkpoint), _simulator(checkpoint), checkpoint.config.sampling.num_memory
    rows = np.random.default_rng(seed).permutation(source.whole_windows(checkpoint.config.codec))[:num_windows]
    if not len(rows):
        raise DatasetError("the held-out episodes hold no window that may be imitated to its end: collect more demonstrations")
    levels = [sigma for sigma in SIGMAS for _ in range(num_noises)]
    scores, errors, promises, is_moving = [], [], [], []
    for done, row in enumerate(np.sort(rows)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + done)
        batch = source.gather(np.array([row]))
        conditioning = _conditioning(batch, num_memory)
        proposals = policy.propose(conditioning, num_candidates, generator)
        shape = proposals.actions.shape
        noise = shared_noise(len(SIGMAS), num_noises, (shape[1], shape[2]), generator)
        absolute = redenoising_consistency(policy.velocity(proposals), proposals.actions, noise, levels)
        motion = chunk_motion(checkpoint.config, proposals.actions, source.state(int(row)), checkpoint.config.sampling.execute_steps)
        scores.append(relative_to_motion(absolute, motion))
        is_moving.append(moving(motion, STILL_BELOW))
        known = batch.action_mask.float()
        errors.append(((proposals.actions - batch.target_actions).square() * known).sum(dim=(1, 2)) / known.sum())
        if simulator is not None and done % SIMULATED_EVERY == 0:
            executed = executable_actions(checkpoint.config, proposals.actions, source.state(int(row)))
            futures = [simulator.imagine(conditioning, executed, generator) for _ in range(2)]
            promises.append(torch.stack([future.progress.amax(dim=1) for future in futures]))
        on_progress((done + 1) / len(rows))
    return ScoredWindows(
        scores=torch.stack(scores).double().numpy(),
        errors=torch.stack(errors).double().numpy(),
        promises=torch.stack(promises, dim=1).double().numpy() if promises else np.zeros((2, 0, num_candidates)),
        is_moving=torch.stack(is_moving).cpu().numpy(),
    )


def _simulator(checkpoint: Checkpoint) -> ActionConditionedSimulator | None:
    model = checkpoint.simulator
    return None if model.conditioning is None or model.progress_expert is None else ActionConditionedSimulator(checkpoint)


def _conditioning(batch: Batch, num_memory: int) -> Conditioning:
    """One window as the policy would observe it."""
    canvas = views_to_canvas(batch.latents)
    return Conditioning(
        current=canvas[:, :, num_memory : num_memory + 1], memory=canvas[:, :, :num_memory], text=batch.text, state=batch.state
    )


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, for values without ties; 0 where there is nothing to rank."""
    if len(first) < 2:
        return 0.0
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])
