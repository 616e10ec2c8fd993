"""Training on several processes: real ones, killed for real, on disks that are really full."""

from __future__ import annotations

import errno
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sharded_work
import torch
from fake_source import fake_source
from processes import Processes
from safetensors.torch import load_file
from sharded_work import CONFIG, EVERY_STEP, ONE_LAYER

from tau0.train.feed import Feed
from tau0.train.memory import KEPT_COPIES, count_parameters, kept_bytes
from tau0.train.mesh import Launch, LaunchError, mesh_shape
from tau0.train.parts import Place
from tau0.train.shard_files import part_name
from tau0.train.shards import POSITION, latest_shards
from tau0.train.state import read_position


def steps(folder: Path) -> list[int]:
    path = folder / "steps.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


def saved(folder: Path) -> int:
    """The step of the last whole checkpoint."""
    newest = latest_shards(folder)
    return 0 if newest is None else json.loads((newest / POSITION).read_text())["step"]


def results_differ(first: Path, second: Path) -> list[str]:
    one, other = (load_file(folder / "result.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two processes from beginning to end. Do not write into it."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    Processes(2, sharded_work.train, folder).finish()
    return folder


def test_sharded_model_computes_what_it_computes_alone(tmp_path: Path):
    Processes(2, sharded_work.compare_gradients, tmp_path).finish()
    differences = json.loads((tmp_path / "differences.json").read_text())
    assert differences["float32"] < 1e-5
    assert differences["copies"] < 1e-5
    assert differences["bfloat16"] < 0.05


def test_killed_run_goes_on_and_ends_equal_bit_for_bit(uninterrupted: Path, tmp_path: Path):
    processes = Processes(2, sharded_work.train, tmp_path, EVERY_STEP, 0.2)
    while saved(tmp_path) < 2 and processes.are_running:
        time.sleep(0.001)
    processes.kill()
    assert 2 <= saved(tmp_path) < 5
    half_written = tmp_path / "shards" / ".draft-00000004"
    half_written.mkdir(exist_ok=True)
    (half_written / part_name(0)).write_bytes(b"half")
    Processes(2, sharded_work.train, tmp_path).finish()
    assert steps(tmp_path)[-1] == CONFIG.max_steps
    assert not half_written.exists()
    assert results_differ(uninterrupted, tmp_path) == []


def test_run_goes_on_with_another_number_of_processes(uninterrupted: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(uninterrupted, folder)
    Processes(1, sharded_work.train, folder).finish()
    assert results_differ(uninterrupted, folder) == []
    Processes(3, sharded_work.train, folder, replace(CONFIG, max_steps=6)).finish()
    assert steps(folder) == [1, 2, 3, 4, 5, 6]
    assert results_differ(uninterrupted, folder) != []


def test_full_disk_stops_with_its_reason_and_keeps_the_last_checkpoint(uninterrupted: Path, tmp_path: Path):
    Processes(2, sharded_work.train_onto_full_disks, tmp_path).finish()
    for rank in range(2):
        (full, where), (limited, _) = json.loads((tmp_path / f"refusals-{rank}.json").read_text())
        assert full == errno.ENOSPC
        assert limited == errno.EFBIG
        assert where == str(tmp_path / "shards" / ".draft-00000003")
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["step-00000002"]
    Processes(2, sharded_work.train, tmp_path).finish()
    assert results_differ(uninterrupted, tmp_path) == []


def test_full_disk_leaves_the_ordinary_loops_state_whole(tmp_path: Path):
    Processes(1, sharded_work.train_alone_onto_a_full_disk, tmp_path).finish()
    assert "File too large" in (tmp_path / "said").read_text()
    assert read_position(tmp_path / "state" / "position.json").step == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said", "state"]


def test_sample_that_is_not_a_number_is_named_and_stops_the_run_or_is_skipped(tmp_path: Path):
    Processes(2, sharded_work.train_on_poison, tmp_path).finish()
    for rank in range(2):
        message = (tmp_path / f"stopped-{rank}").read_text()
        assert message.startswith("step 2: simulator_video, progress, gradient norm not finite")
        assert "computed from simulator sample number 2003;" in message
    assert json.loads((tmp_path / "seen.json").read_text()) == [[3, 1], [4, 1], [5, 1]]
    lines = (tmp_path / "non_finite.jsonl").read_text().splitlines()
    assert [json.loads(line)["samples"] for line in lines] == [["simulator sample number 2003"]] * 2


def test_batch_that_is_too_small_for_so_many_processes_is_refused():
    config = replace(CONFIG, policy_batch=3)
    with pytest.raises(ValueError, match="policy_batch is 3, but 2 processes with 2 micro-batches each need at least 4"):
        Feed(fake_source(config), config, Place(rank=0, world=2), 2)


def test_feed_gives_every_process_its_part_whatever_was_taken_before():
    config, taken = replace(CONFIG, policy_batch=5, simulator_batch=0), []
    for rank in range(2):
        with Feed(fake_source(config), config, Place(rank=rank, world=2), 2) as feed:
            feed.take(0)
            taken += feed.take(7)
            first, again = feed.take(3)[0], feed.take(3)[0]
            assert torch.equal(first.batch.latents, again.batch.latents)
            assert torch.equal(first.draws.normal(3), again.draws.normal(3))
    assert [row for part in taken for row in part.rows.tolist()] == [7000, 7001, 7002, 7003, 7004]
    assert [len(part.draws) for part in taken] == [1, 1, 1, 2]


def test_processes_hold_what_the_arithmetic_says(uninterrupted: Path):
    counts = count_parameters(ONE_LAYER)
    held = sum(int((uninterrupted / f"held-{rank}").read_text()) for rank in range(2))
    weights_and_average = 2 / KEPT_COPIES
    assert held == pytest.approx(2 * weights_and_average * kept_bytes(counts, 2), rel=1e-12)


def test_shapes_of_the_mesh():
    assert mesh_shape(8, None) == {"shard": 8}
    assert mesh_shape(8, 4) == {"replicate": 2, "shard": 4}
    with pytest.raises(LaunchError, match=r"8 processes cannot be shared out by 3 .* choose one of \[1, 2, 4, 8\]"):
        mesh_shape(8, 3)


def test_launch_is_what_torchrun_says():
    environment = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert Launch.from_environment(environment) == Launch(rank=3, world=4, local_rank=1)
    assert Launch.from_environment({}) is None
