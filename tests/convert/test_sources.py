"""Where weights lie, and how they are read and written: lazily, and nothing that could run code."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tau0.convert.safetensors_file import Planned, SafetensorsFile, write_safetensors
from tau0.convert.sources import open_source
from tau0.model.weights import WeightsError

TENSORS = {f"layer.{i}.weight": torch.arange(6.0).reshape(2, 3) + i for i in range(4)}


def shards(folder: Path, form: str = "safetensors") -> Path:
    """Two shards with an index; the folder."""
    folder.mkdir(exist_ok=True)
    files = {f"model-{i + 1:05}-of-00002.{form}": dict(list(TENSORS.items())[2 * i : 2 * i + 2]) for i in range(2)}
    for name, tensors in files.items():
        save_file(tensors, folder / name) if form == "safetensors" else torch.save(tensors, folder / name)
    weight_map = {tensor: name for name, tensors in files.items() for tensor in tensors}
    (folder / f"model.{form}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def everything(path: Path, key: str | None = None) -> bool:
    """Whether the source at `path` gives exactly `TENSORS`."""
    source = open_source(path, key)
    assert {name: source.shapes[name] for name in TENSORS} == dict.fromkeys(TENSORS, (2, 3)) == dict(source.shapes)
    assert set(source.dtypes.values()) == {torch.float32}
    return all(torch.equal(source.read(name), tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("form", ["safetensors", "bin", "pth"])
def test_one_file_or_shards_or_a_folder(tmp_path: Path, form: str) -> None:
    single, several = tmp_path / "single", shards(tmp_path / "several", form)
    single.mkdir()
    save_file(TENSORS, single / "model.safetensors") if form == "safetensors" else torch.save(TENSORS, single / f"model.{form}")
    for path in (single, single / f"model.{form}", several, several / f"model.{form}.index.json"):
        assert everything(path)


def test_weights_inside_a_pickled_file(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "only.pth")
    assert everything(tmp_path / "only.pth")
    torch.save({"ema": TENSORS, "step": 3}, tmp_path / "more.pth")
    assert everything(tmp_path / "more.pth", key="ema")
    with pytest.raises(WeightsError, match=r"more than weights \(ema, step\): say with --key"):
        open_source(tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"no entry 'emma' \(there are ema, step\)"):
        open_source(tmp_path / "more.pth", key="emma")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        open_source(tmp_path / "list.pth")
    torch.save({"a": torch.zeros(1, dtype=torch.int64)}, tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"not of floats: a \(torch.int64\)"):
        open_source(tmp_path / "whole.pth")


class Bomb:
    """Harmful to unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("harmed",))


def test_no_pickle_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1), "extra": Bomb()}, tmp_path / "new.pth")
    with pytest.raises(WeightsError, match="could run code"):
        open_source(tmp_path / "new.pth")
    (tmp_path / "old.bin").write_bytes(pickle.dumps({"extra": Bomb()}))
    with pytest.raises(WeightsError, match=r"old\.bin is not opened: it is damaged, or of a form from before torch 1\.6"):
        open_source(tmp_path / "old.bin")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index["weight_map"].pop("layer.3.weight"), "layer.3.weight is in model-00002-of-00002.safetensors, where the index"),
        (lambda index: index["weight_map"].update(ghost="model-00001-of-00002.safetensors"), "ghost is listed in model-00001"),
        (
            lambda index: index["weight_map"].update(ghost="model-00003-of-00002.safetensors"),
            "these are not there: model-00003",
        ),
        (lambda index: index["weight_map"].update(ghost="../model.safetensors"), "outside its folder"),
        (lambda index: index.pop("weight_map"), "is not an index of shards"),
    ],
)
def test_an_index_that_does_not_fit_its_shards(tmp_path: Path, change: Any, said: str) -> None:
    path = shards(tmp_path) / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=said):
        open_source(tmp_path)


def test_what_is_no_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a file nor a folder"):
        open_source(tmp_path / "nowhere")
    shards(tmp_path / "transformer")
    with pytest.raises(WeightsError, match=f"did you mean {tmp_path / 'transformer'}"):
        open_source(tmp_path)
    save_file(TENSORS, tmp_path / "a.safetensors")
    save_file(TENSORS, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"several: a\.safetensors, b\.safetensors"):
        open_source(tmp_path)
    (tmp_path / "weights.h5").write_text("")
    with pytest.raises(WeightsError, match=r"weights are \.safetensors"):
        open_source(tmp_path / "weights.h5")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"a\.safetensors cannot be read"):
        open_source(tmp_path / "a.safetensors")
    save_file({"n": torch.zeros(1, dtype=torch.int32)}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"not of floats: n \(I32\)"):
        open_source(tmp_path / "b.safetensors")


def test_what_is_written_is_safetensors(tmp_path: Path) -> None:
    """Read back by the library and by ours: every type, no number, one number, rows of a larger tensor."""
    large = torch.arange(12.0).reshape(6, 2)
    tensors = {
        "half": torch.randn(3, 5).half(),
        "double": torch.randn(2, dtype=torch.float64),
        "brain": torch.randn(7).bfloat16(),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(2.5),
        "rows": large[2:4],
        "transposed": large.T,
    }
    planned = [Planned(name=n, shape=tuple(t.shape), dtype=t.dtype, make=lambda t=t: t) for n, t in tensors.items()]
    written: list[int] = []
    write_safetensors(tmp_path / "file.safetensors", planned, written.append)
    assert sum(written) == sum(p.num_bytes for p in planned)
    library, ours = load_file(tmp_path / "file.safetensors"), SafetensorsFile(tmp_path / "file.safetensors")
    for name, tensor in tensors.items():
        assert torch.equal(library[name], tensor)
        assert torch.equal(ours.read(name), tensor)
        assert ours.dtypes[name] == tensor.dtype
    with safe_open(tmp_path / "file.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    with pytest.raises(AssertionError, match="half is"):
        write_safetensors(tmp_path / "file.safetensors", [replace(planned[0], shape=(5, 3))])
