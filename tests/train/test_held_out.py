"""A finished checkpoint on the windows that training did not see: source, simulator card and gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tau0.actions import Normaliser
from tau0.checkpoint import MODEL_NAME, Checkpoint, load, save
from tau0.contract import Camera, ContractError, Embodiment
from tau0.data.episodes import Dataset, DatasetError
from tau0.data.mixture import MixtureSpec
from tau0.data.schema import ACTION, EXPERT_ACTION, STATE
from tau0.data.split import split_episodes
from tau0.evaluate.simulator_card import CardSpec, measure_simulator
from tau0.plan.gate import choose_margin
from tau0.train.gate import ScoredWindows, check_held_out, choose_gate, score_windows
from tau0.train.held_out import held_out_source
from tau0.train.ingredients import align_sources, dataset_mixture, robot_codecs
from tiny import EMBODIMENT, NUM_FUTURE, tiny_checkpoint

SEED_WHOSE_PROGRESS_VARIES = 1


def mixture_of(dataset: Dataset, embodiment: Embodiment = EMBODIMENT, num_future: int = NUM_FUTURE) -> MixtureSpec:
    return dataset_mixture(dataset.root, embodiment, num_future)


def test_held_out_samples_are_what_was_recorded(checkpoint: Checkpoint, dataset: Dataset):
    source = held_out_source(checkpoint, mixture_of(dataset))
    held_out = split_episodes(dataset.episodes)["validation"]
    allowed = {row for episode in held_out for row in range(episode.start, episode.stop)}
    rows = source.index.samples("policy")
    assert set(rows.tolist()) <= allowed
    row = next(e.start for e in held_out if e.kind == "demonstration") + 2
    batch = source.gather(np.array([row, row + 1]))
    columns = {name: torch.from_numpy(column) for name, column in dataset.columns([STATE, ACTION, EXPERT_ACTION]).items()}
    codec, chunk = checkpoint.config.codec, slice(row, row + checkpoint.config.embodiment.action_horizon)
    torch.testing.assert_close(codec.decode(batch.executed_actions, columns[STATE][[row, row + 1]])[0], columns[ACTION][chunk])
    torch.testing.assert_close(codec.decode(batch.target_actions, columns[STATE][[row, row + 1]])[0], columns[EXPERT_ACTION][chunk])
    torch.testing.assert_close(codec.state.denormalise(batch.state), columns[STATE][[row, row + 1]])
    assert batch.latents.abs().sum(dim=(1, 2, 4, 5)).min() > 0


def test_relative_actions_are_measured_from_their_windows_own_state(checkpoint: Checkpoint, dataset: Dataset):
    joints = replace(checkpoint.config.codec, reference="relative", action=Normaliser(mean=(0.0,) * 4, std=(1.0,) * 4), grippers=(3,))
    relative = replace(checkpoint, config=replace(checkpoint.config, codec=joints))
    source = held_out_source(relative, mixture_of(dataset))
    row = int(source.index.samples("policy")[0])
    columns = dataset.columns([STATE, ACTION])
    expected = torch.from_numpy(columns[ACTION][row : row + 3] - columns[STATE][row] * np.array([1, 1, 1, 0], np.float32))
    torch.testing.assert_close(source.gather(np.array([row])).executed_actions[0, :3], expected, atol=1e-4, rtol=1e-4)


def test_dataset_of_another_robot_is_refused(checkpoint: Checkpoint, dataset: Dataset):
    cameras = (*checkpoint.config.embodiment.cameras, Camera(name="ceiling", height=32, width=32))
    with pytest.raises(ContractError, match="cameras lacks 'ceiling'"):
        mixture_of(dataset, replace(checkpoint.config.embodiment, cameras=cameras))


def test_codec_has_the_statistics_of_all_actions(dataset: Dataset):
    columns, (codec,) = dataset.columns([STATE, ACTION, EXPERT_ACTION]), robot_codecs(align_sources(mixture_of(dataset))).values()
    often = [np.minimum(np.arange(1, episode.length + 1), EMBODIMENT.action_horizon) for episode in dataset.episodes]
    both = np.concatenate([np.repeat(columns[name], np.concatenate(often), axis=0) for name in (ACTION, EXPERT_ACTION)]).astype(np.float64)
    np.testing.assert_allclose(codec.action.mean, both.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(codec.action.std, both.std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(codec.state.std, columns[STATE].astype(np.float64).std(axis=0), rtol=1e-9)


def test_simulator_card_of_a_real_checkpoint(checkpoint: Checkpoint, dataset: Dataset):
    source = held_out_source(checkpoint, mixture_of(dataset))
    card = measure_simulator(checkpoint, source.gather, split_episodes(dataset.episodes)["validation"], CardSpec(per_kind=5))
    assert card.num_windows == {"demonstration": 5, "failure": 5, "branch": 3}
    assert card.progress.num_groups == 1
    assert card.progress.auroc is not None
    assert np.isfinite([card.future.moving.estimate, card.actions.swapped.estimate]).all()


def test_gate_is_passed_by_the_wanted_share(data: Path, tmp_path: Path):
    checkpoint = tiny_checkpoint(seed=SEED_WHOSE_PROGRESS_VARIES)
    folder, fractions = tmp_path / "checkpoint", []
    save(checkpoint, folder)
    weights = (folder / MODEL_NAME).read_bytes()
    mixture = dataset_mixture(data, EMBODIMENT, NUM_FUTURE)
    gate = choose_gate(folder, mixture, num_candidates=3, share=0.25, num_windows=8, num_noises=2, on_progress=fractions.append)
    assert load(folder).config == replace(checkpoint.config, gate=gate)
    assert (folder / MODEL_NAME).read_bytes() == weights
    assert (gate.sigmas, gate.num_noises, gate.error, gate.num_candidates, fractions[-1]) == ((0.6,), 2, "relative", 3, 1.0)
    scored = score_windows(checkpoint, held_out_source(checkpoint, mixture), 3, 8, 2, 0)
    assert (scored.allowed_scores.max(axis=1) >= gate.threshold).mean() == 0.25
    assert scored.promises.shape == (2, 3, 3)
    assert gate.margin == pytest.approx(choose_margin(scored.promises), abs=1e-5)
    assert gate.margin > 1e-3
    assert "2 of 8 observed decisions" in gate.chosen_by
    assert "8 held-out windows with 3 candidates" in gate.chosen_by


def test_scored_windows_in_words():
    errors, none = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]), np.zeros((2, 0, 3))
    all_move = np.ones((2, 3), np.bool_)
    windows = ScoredWindows(scores=-errors, errors=errors, promises=none, is_moving=all_move)
    assert "1.00 between windows, 1.00 within one; the best score is 50.0% nearer" in windows.in_words()
    assert "-1.00 between windows, -1.00 within one" in replace(windows, scores=errors).in_words()
    still_best = replace(windows, is_moving=np.array([[False, True, True]] * 2))
    assert "1.00 within one; the best score is 0.0% nearer" in still_best.in_words()


def test_the_gate_is_not_asked_about_candidates_that_stand_still(
    checkpoint: Checkpoint, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    motion = torch.tensor([1.0, 0.01, 2.0])
    monkeypatch.setattr("tau0.train.gate.chunk_motion", lambda *_: motion)
    mixture, folder = mixture_of(dataset), tmp_path / "checkpoint"
    scored = score_windows(checkpoint, held_out_source(checkpoint, mixture), 3, 8, 2, 0)
    assert scored.is_moving.tolist() == [[True, False, True]] * len(scored.scores)
    assert (scored.allowed_scores == np.where([True, False, True], scored.scores, -np.inf)).all()
    agreeing = replace(scored, scores=scored.scores + np.array([0.0, 1e6, 0.0]))
    monkeypatch.setattr("tau0.train.gate.score_windows", lambda *_: agreeing)
    save(checkpoint, folder)
    gate = choose_gate(folder, mixture, num_candidates=3, share=0.25, num_windows=8, num_noises=2)
    assert (scored.scores[:, [0, 2]].max(axis=1) >= gate.threshold).mean() == 0.25


def test_gate_without_windows_to_imitate_says_so(checkpoint: Checkpoint, dataset: Dataset):
    source = held_out_source(checkpoint, mixture_of(dataset, replace(EMBODIMENT, action_horizon=49), 12))
    with pytest.raises(ValueError, match="no window that may be imitated to its end"):
        score_windows(checkpoint, source, 2, 4, 1, 0)


def test_data_without_held_out_demonstrations_is_refused_at_once(dataset: Dataset):
    check_held_out(mixture_of(dataset, replace(EMBODIMENT, action_horizon=22)))
    with pytest.raises(DatasetError, match="no demonstration of 23 steps"):
        check_held_out(mixture_of(dataset, replace(EMBODIMENT, action_horizon=23)))
