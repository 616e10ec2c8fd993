"""What is written of a step."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from fake_source import NUM_MEMORY, fake_batch, fake_source

from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.train.config import TrainConfig
from tau0.train.draws import Draws
from tau0.train.loop import Networks, Progress
from tau0.train.meter import Meter
from tau0.train.metrics import MetricsWriter, scalars
from tau0.train.tally import Tally
from tiny import MODEL

PROGRESS = Progress(
    step=1,
    fraction=0.5,
    seconds=2.0,
    losses={"action": 0.5, "progress": math.nan},
    by_source={"action/branch": 0.25},
    rates={"step_s": 2.0},
)
CONFIG, SAMPLING = TrainConfig(action_draws=2, policy_batch=6), SamplingConfig(num_memory=NUM_MEMORY)


def test_line_is_json_whatever_the_numbers_are_and_resuming_drops_what_comes_after(tmp_path: Path):
    for step in (0, 0):
        with MetricsWriter(tmp_path, step) as writer:
            writer.write(PROGRESS)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert "NaN" not in lines[0]
    assert json.loads(lines[0])["losses"] == {"action": 0.5, "progress": None}
    named = scalars(PROGRESS)
    assert named["loss/action"] == 0.5
    assert named["loss_by_source/action/branch"] == 0.25
    assert named["rate/step_s"] == 2.0
    assert "loss/progress" not in named


@torch.no_grad()
def test_losses_by_source_add_up_over_parts():
    networks, source, batch = Networks(WorldModel(MODEL), None), fake_source(CONFIG), fake_batch(6)
    rows = source.rows("policy", 0)
    errors = networks("policy", batch, CONFIG, SAMPLING, Draws.of((0,), range(6)))
    tally = Tally(source)
    for part in (slice(0, 2), slice(2, 6)):
        tally.add("policy", rows[part], {term: type(e)(e.total[part], e.kept[part]) for term, e in errors.items()})
    numbers = tally.numbers()
    assert tally.losses(numbers) == pytest.approx({term: float(error.mean()) for term, error in errors.items()})
    by_source = tally.by_source(numbers)
    assert set(by_source) == {f"{term}/{kind}" for term in errors for kind in ("demonstration", "failure", "branch")}
    first = errors["action"].total[[0, 3]].sum() / errors["action"].kept[[0, 3]].sum()
    assert by_source["action/demonstration"] == pytest.approx(float(first))
    assert tally.culprits() == []


def test_weights_and_biases_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match="pip install wandb"):
        MetricsWriter(tmp_path, 0, "project")


def test_meter_divides_what_was_done_by_the_time_it_took():
    networks = Networks(WorldModel(MODEL), None)
    meter = Meter(networks.by_stream(), CONFIG, SAMPLING, torch.device("cpu"), 2)
    with meter.waiting():
        pass
    meter.saw("policy", fake_batch(3), 6)
    meter.saw("simulator", fake_batch(3), 4)
    rates = meter.rates(2.0)
    assert rates["samples_per_s"] == 5.0
    assert rates["tokens_per_s"] == (6 * 3 * 8 + 4 * 6 * 8) / 2
    assert 0 < rates["model_flops_utilisation"] < 1
    assert 0 <= rates["data_wait_s"] < 1
    assert rates["memory_gib"] > 0.01
