"""What robots report becomes datasets that the reader of any other dataset opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from serving import SINGLE, serving

from tau0.checkpoint import Checkpoint
from tau0.contract import Observation
from tau0.data.episodes import Dataset
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.recorder import Recorder
from tiny import EMBODIMENT


def seen(step: int) -> Observation:
    """A grey picture that grows lighter."""
    images = {camera.name: np.full((32, 32, 3), 8 * step, np.uint8) for camera in EMBODIMENT.cameras}
    return Observation(images=images, state=np.full(4, step / 100, np.float32), instruction="push the puck", step=step)


def drive(client: Client, steps: int, outcome: str | None, moves: float = 0.5) -> None:
    """An episode in chunks of eight, every control step reported."""
    for step in range(steps):
        if step % 8 == 0:
            client.decide(seen(step))
        client.report(seen(step), np.full(4, moves, np.float32), {"speed": 1})
    client.reset(0, outcome)  # pyright: ignore[reportArgumentType]


def test_reported_episodes_are_read_back(tmp_path: Path, checkpoint: Checkpoint) -> None:
    recorder = Recorder(tmp_path, EMBODIMENT)
    with serving(Agents(checkpoint, SINGLE), recorder=recorder) as server:
        with Client(server.address) as client:
            assert client.metadata.records
            drive(client, 20, "success")
            drive(client, 12, "failure", moves=-0.25)
            drive(client, 9, None)
        with Client(server.address) as cut_off:
            for step in range(6):
                cut_off.report(seen(step), np.zeros(4, np.float32))
            cut_off.imagine(seen(0), np.zeros((1, EMBODIMENT.action_horizon, 4), np.float32), wants_frames=False)
        server.drain()
        counted = server.service.metrics.exposition().decode()
    assert "tau0_recorded_steps_total 47.0" in counted
    assert 'tau0_safety_trips_total{limit="speed"} 41.0' in counted
    judged, unjudged = Dataset.open(recorder.folder / "judged"), Dataset.open(recorder.folder / "unjudged")
    judged.check_against(EMBODIMENT)
    assert [(episode.length, episode.kind, episode.success) for episode in judged.episodes] == [
        (20, "demonstration", True),
        (12, "failure", False),
    ]
    assert [episode.length for episode in unjudged.episodes] == [9, 6]
    table = judged.table(judged.episodes[1])
    np.testing.assert_array_equal(table["action"], np.full((12, 4), -0.25, np.float32))
    np.testing.assert_allclose(table["observation.state"][:, 0], np.arange(12) / 100, rtol=1e-6)
    frames = judged.frames(judged.episodes[0], "wrist")
    assert np.abs(frames[10].astype(int) - 80).max() <= 3


def test_a_robot_that_asks_at_every_step_need_not_report(tmp_path: Path, checkpoint: Checkpoint) -> None:
    recorder = Recorder(tmp_path, EMBODIMENT)
    with serving(Agents(checkpoint, SINGLE), recorder=recorder) as server, Client(server.address) as client:
        sent = [client.decide(seen(step)).chunk.actions[0] for step in range(5)]
        client.reset(0, "failure")
        for step in (0, 8, 16):
            client.decide(seen(step))
        client.reset(0, "failure")
    dataset = Dataset.open(recorder.folder / "judged")
    assert [episode.length for episode in dataset.episodes] == [5]
    np.testing.assert_array_equal(dataset.table(dataset.episodes[0])["action"], np.stack(sent))


def test_what_a_killed_server_left_is_put_together_by_the_next(tmp_path: Path) -> None:
    killed = Recorder(tmp_path, EMBODIMENT)
    rows = [(seen(step), np.zeros(4, np.float32)) for step in range(7)]
    killed.keep(rows, "failure")
    killed._pool.shutdown(wait=True)
    assert not (killed.folder / "judged" / "meta").exists()
    (killed.folder / "judged" / ".staging" / "episode-000009.partial").mkdir()
    killed.folder.rename(tmp_path / "run-20200101-000000")
    later = Recorder(tmp_path, EMBODIMENT)
    dataset = Dataset.open(tmp_path / "run-20200101-000000" / "judged")
    assert [episode.length for episode in dataset.episodes] == [7]
    later.close()
    assert not later.folder.exists()


def test_a_long_episode_is_cut_and_a_full_queue_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tau0.serve.recorder.MAX_EPISODE_BYTES", 4 * 2 * 32 * 32 * 3)
    recorder = Recorder(tmp_path, EMBODIMENT)
    tape = recorder.tape("robot")
    for step in range(10):
        tape.saw(seen(step), np.zeros(4, np.float32))
    tape.end("failure")
    recorder.close()
    assert [episode.length for episode in Dataset.open(recorder.folder / "unjudged").episodes] == [4, 4]
    assert [episode.length for episode in Dataset.open(recorder.folder / "judged").episodes] == [2]
