from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch
from fake_source import NUM_MEMORY, FakeSource, fake_source
from hypothesis import given
from hypothesis import strategies as st

from tau0.checkpoint import CheckpointError
from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.train.config import TrainConfig
from tau0.train.loop import Networks, NonFiniteLossError, Progress, train
from tau0.train.objective import weighted_sum
from tau0.train.parallel import average_gradients, share_of
from tau0.train.parts import Place, count_kept, parts_of
from tau0.train.state import STATE_FOLDER, Average
from tiny import MODEL

CONFIG = TrainConfig(
    minutes=1e6, checkpoint_minutes=1e6, max_steps=5, workers=1, policy_batch=4, simulator_batch=3, warmup_steps=2, learning_rate=3e-3
)


class Recorder:
    """Keeps what it is told; stops after a number of steps."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[Progress] = []
        self.num_checkpoints = 0
        self._stop_at = stop_at

    def on_step(self, progress: Progress) -> bool:
        self.steps.append(progress)
        return progress.step == self._stop_at

    def on_checkpoint(self, networks: Networks, average: Average, progress: Progress) -> None:
        del networks, average, progress
        self.num_checkpoints += 1


def networks(*, has_own_simulator: bool = False) -> Networks:
    torch.manual_seed(0)
    return Networks(WorldModel(MODEL), WorldModel(replace(MODEL, action=None)) if has_own_simulator else None)


def run(
    nets: Networks, folder: Path, recorder: Recorder, config: TrainConfig = CONFIG, recipe: str = "a", is_constant: bool = False
) -> Average:
    folder.mkdir(exist_ok=True)
    return train(
        nets, fake_source(config, is_constant=is_constant), config, SamplingConfig(num_memory=NUM_MEMORY), folder, recipe, Place(), recorder
    )


def test_one_batch_is_learned(tmp_path: Path):
    recorder = Recorder()
    config = replace(
        CONFIG, max_steps=110, policy_batch=2, simulator_batch=2, action_draws=4, caption_dropout=0.0, learning_rate=1e-2, warmup_steps=10
    )
    run(networks(), tmp_path, recorder, config, is_constant=True)
    for term, factor in (("policy_video", 0.7), ("simulator_video", 0.7), ("action", 0.85), ("progress", 0.85)):
        losses = [step.losses[term] for step in recorder.steps]
        first, last = sum(losses[:10]) / 10, sum(losses[-20:]) / 20
        assert last < factor * first, (term, first, last)


@pytest.mark.parametrize("has_own_simulator", [False, True])
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, has_own_simulator: bool):
    whole, broken, resumed = (networks(has_own_simulator=has_own_simulator) for _ in range(3))
    expected = run(whole, tmp_path / "whole", Recorder())
    first, second = Recorder(stop_at=2), Recorder()
    run(broken, tmp_path / "broken", first)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.fill_(7.0)
    average = run(resumed, tmp_path / "broken", second)
    assert [step.step for step in (*first.steps, *second.steps)] == [1, 2, 3, 4, 5]
    assert (first.num_checkpoints, second.num_checkpoints) == (1, 1)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
        assert torch.equal(expected.tensors[name], average.tensors[name]), name


def test_finished_run_takes_no_further_step(tmp_path: Path):
    run(networks(), tmp_path, Recorder())
    recorder = Recorder()
    run(networks(), tmp_path, recorder)
    assert recorder.steps == []


def test_state_of_another_recipe_is_refused(tmp_path: Path):
    run(networks(), tmp_path, Recorder(stop_at=1))
    with pytest.raises(CheckpointError, match=r"another recipe \(a, this one is b\)"):
        run(networks(), tmp_path, Recorder(), recipe="b")


def test_loss_that_is_not_finite_stops_and_keeps_the_state(tmp_path: Path):
    run(networks(), tmp_path, Recorder(stop_at=1))
    before = {path.name: path.read_bytes() for path in (tmp_path / STATE_FOLDER).iterdir()}
    config = replace(CONFIG, learning_rate=float("inf"))
    with pytest.raises(NonFiniteLossError, match=r"step 2.*not finite"):
        run(networks(), tmp_path, Recorder(), config)
    assert {path.name: path.read_bytes() for path in (tmp_path / STATE_FOLDER).iterdir()} == before


@pytest.mark.parametrize("on_non_finite", ["stop", "skip"])
def test_sample_that_is_not_a_number_is_named_and_stops_or_is_skipped(tmp_path: Path, on_non_finite: Literal["stop", "skip"]):
    config, recorder = replace(CONFIG, on_non_finite=on_non_finite), Recorder()
    source = FakeSource(config)
    source.poisoned = {("policy", 1, 2)}
    arguments = (cast(Any, source), config, SamplingConfig(num_memory=NUM_MEMORY), tmp_path, "a", Place(), recorder)
    if on_non_finite == "stop":
        with pytest.raises(NonFiniteLossError, match=r"step 1: policy_video, action, gradient norm not finite, .* sample number 1002;"):
            train(networks(), *arguments)
    else:
        average = train(networks(), *arguments)
        assert [step.skipped for step in recorder.steps] == [0, 1, 1, 1, 1]
        assert all(bool(tensor.isfinite().all()) for tensor in average.tensors.values())
    assert json.loads((tmp_path / "non_finite.jsonl").read_text())["samples"] == ["policy sample number 1002"]


def test_state_set_aside_by_a_killed_save_is_found(tmp_path: Path):
    run(networks(), tmp_path, Recorder(stop_at=1))
    (tmp_path / STATE_FOLDER).rename(tmp_path / f".{STATE_FOLDER}.old-123")
    recorder = Recorder(stop_at=2)
    run(networks(), tmp_path, recorder)
    assert [step.step for step in recorder.steps] == [2]


def test_average_follows_the_weights():
    nets = networks()
    average = Average(nets, decay=0.9)
    with torch.no_grad():
        for parameter in nets.parameters():
            parameter.fill_(1.0)
    for step in range(300):
        average.update(nets, step)
    for tensor in average.tensors.values():
        torch.testing.assert_close(tensor, torch.ones_like(tensor))


@given(batch=st.integers(0, 200), world=st.integers(1, 9))
def test_shares_partition_the_batch(batch: int, world: int):
    shares = [share_of(batch, rank, world) for rank in range(world)]
    assert [i for share in shares for i in range(batch)[share]] == list(range(batch))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_parts_of_several_processes_are_the_samples_of_one_with_the_same_noise():
    config = replace(CONFIG, policy_batch=5, simulator_batch=4, caption_dropout=0.5)
    source, sampling, nets = fake_source(config), SamplingConfig(num_memory=NUM_MEMORY), networks()
    alone = list(parts_of(source, config, 7, Place()))
    kept = count_kept(alone)
    together = [part for rank in range(2) for part in parts_of(source, config, 7, Place(rank=rank, world=2), micro_batches=2)]
    assert count_kept(together) == kept
    losses = []
    for parts in (alone, together):
        errors = [nets(part.stream, part.batch, config, sampling, part.draws) for part in parts]
        losses.append(sum(float(weighted_sum(error, config, kept).detach()) for error in errors))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for stream in ("policy", "simulator"):
        whole, spread = (torch.cat([p.batch.text for p in parts if p.stream == stream]) for parts in (alone, together))
        assert torch.equal(whole, spread)


def test_alone_there_is_nothing_to_average():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 3.0)
    assert average_gradients([parameter], [1.5]) == [1.5]
    assert parameter.grad.tolist() == [3.0, 3.0]
