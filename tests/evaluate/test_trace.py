"""A trace survives the disk, and a damaged one says where it is damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_traces import fake_trace
from safetensors.numpy import load_file, save_file

from tau0.evaluate.trace import ARRAYS_NAME, JSON_NAME, EpisodeTrace, TraceError, read_trace, read_traces, write_trace


def assert_same(one: Any, other: Any, where: str = "trace") -> None:
    """Every field, arrays by value and dtype, floats exactly."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        assert type(one) is type(other), where
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert one == other, where


@pytest.fixture
def trace() -> EpisodeTrace:
    return fake_trace(0, num_decisions=4, num_candidates=3)


@pytest.mark.parametrize("mode", ["single", "rcs", "full"])
def test_every_field_survives_the_disk(tmp_path: Path, mode: str) -> None:
    written = fake_trace(2, num_decisions=6, num_candidates=3, mode=mode, success=False)
    assert_same(written, read_trace(write_trace(tmp_path / "episode-000", written)))


def test_a_gate_that_never_closes_survives(tmp_path: Path, trace: EpisodeTrace) -> None:
    decision = dataclasses.replace(trace.decisions[0], gate_threshold=float("-inf"), gate_passed=True)
    open_gate = dataclasses.replace(trace, decisions=(decision,))
    folder = write_trace(tmp_path / "episode-000", open_gate)
    assert_same(open_gate, read_trace(folder))
    json.loads((folder / JSON_NAME).read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_writing_again_replaces_and_leaves_nothing_behind(tmp_path: Path, trace: EpisodeTrace) -> None:
    write_trace(tmp_path / "episode-000", trace)
    write_trace(tmp_path / "episode-000", dataclasses.replace(trace, seed=7))
    assert [path.name for path in tmp_path.iterdir()] == ["episode-000"]
    assert read_trace(tmp_path / "episode-000").seed == 7


def test_failed_write_leaves_the_old_trace(tmp_path: Path, trace: EpisodeTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trace(tmp_path / "episode-000", trace)

    def no_space(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("tau0.evaluate.trace.save_file", no_space)
    with pytest.raises(OSError, match="no space"):
        write_trace(tmp_path / "episode-000", dataclasses.replace(trace, seed=7))
    assert [path.name for path in tmp_path.iterdir()] == ["episode-000"]
    assert_same(trace, read_trace(tmp_path / "episode-000"))


def test_traces_are_read_in_order(tmp_path: Path, trace: EpisodeTrace) -> None:
    for i in (2, 0, 1):
        write_trace(tmp_path / f"episode-{i:03d}", dataclasses.replace(trace, seed=i))
    assert [one.seed for one in read_traces(tmp_path)] == [0, 1, 2]
    with pytest.raises(TraceError, match="no folder named episode-"):
        read_traces(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda fields: fields.pop("success"), "'success' is missing"),
        (lambda fields: fields.update(seed="one"), r"'seed' is 'one', expected int"),
        (lambda fields: fields.update(format="tau0-trace-9"), "'format' is 'tau0-trace-9', expected 'tau0-trace-1'"),
        (lambda fields: fields["decisions"][1].update(choice="guess"), r"'decisions\[1\].choice' is 'guess', expected one of"),
        (lambda fields: fields["decisions"][1].update(chosen=99), r"'decisions\[1\].chosen' is 99, expected 0 to 2"),
        (lambda fields: fields["decisions"][0].update(control_hz=None), r"'decisions\[0\].control_hz' is None, expected a number"),
        (lambda fields: fields["decisions"].__setitem__(2, 5), r"'decisions\[2\]' is a int, expected an object"),
    ],
)
def test_damaged_json_names_file_and_field(tmp_path: Path, trace: EpisodeTrace, damage: Any, message: str) -> None:
    path = write_trace(tmp_path / "episode-000", trace) / JSON_NAME
    fields = json.loads(path.read_text())
    damage(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(TraceError, match=message) as caught:
        read_trace(path.parent)
    assert str(path) in str(caught.value)


def test_damaged_arrays_name_file_and_field(tmp_path: Path, trace: EpisodeTrace) -> None:
    path = write_trace(tmp_path / "episode-000", trace) / ARRAYS_NAME
    arrays = load_file(path)
    save_file({**arrays, "decisions[1].chunk": arrays["decisions[1].chunk"][0]}, path)
    with pytest.raises(TraceError, match=rf"{ARRAYS_NAME}: field 'decisions\[1\].chunk' is float32 of shape \(4,\), expected float32"):
        read_trace(path.parent)
    save_file({name: array for name, array in arrays.items() if name != "frames"}, path)
    with pytest.raises(TraceError, match=rf"{ARRAYS_NAME}: field 'frames' is missing"):
        read_trace(path.parent)
    path.write_bytes(b"not tensors")
    with pytest.raises(TraceError, match="is not a safetensors file"):
        read_trace(path.parent)
    path.unlink()
    with pytest.raises(TraceError, match="incomplete"):
        read_trace(path.parent)


def test_frames_and_steps_must_agree(trace: EpisodeTrace) -> None:
    with pytest.raises(TraceError, match="one step per frame"):
        dataclasses.replace(trace, frame_steps=trace.frame_steps[:-1])
