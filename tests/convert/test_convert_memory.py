"""Converting holds one tensor at a time: measured on a file of a quarter of a gigabyte, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from published import SHAPE, autoencoder_tensors, contract_fields
from safetensors.torch import save_file

from tau0.convert.safetensors_file import Planned, SafetensorsFile, write_safetensors
from tau0.model.names import to_published
from tau0.model.published import to_published_shape
from tau0.model.world_model import WorldModel

TRUNK = replace(SHAPE.trunk, width=768, ffn_width=3072, num_heads=12, num_layers=5, text_width=1024, frequency_width=256)
MEGABYTE = 2**20

CONVERT = """
import json, sys
from pathlib import Path
import psutil
from tau0.checkpoint import MODEL_NAME
from tau0.convert.checkpoint_folder import Sources, plan_checkpoint
from tau0.convert.contract import Contract
from tau0.convert.published_folder import plan_export
from tau0.convert.sources import open_source
from tau0.model.published import from_published_shape

root = Path(sys.argv[1])
contract = Contract(fields=json.loads((root / "contract.json").read_text()), source="contract.json")
shape = from_published_shape(json.loads((root / "config.json").read_text()))
conversion = plan_checkpoint(Sources(policy=open_source(root / "policy.safetensors")), contract, shape, autoencoder=root / "a.safetensors")
used = lambda: psutil.Process().memory_info().rss
before, samples = used(), []
conversion.write(root / "checkpoint", lambda _: samples.append(used()))
plan_export(root / "checkpoint", "policy").write(root / "back", 10**9, lambda _: samples.append(used()))
print(json.dumps([max(samples) - before, conversion.num_bytes, len(samples)]))
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Fused on the way in and separate again on the way out: what came in comes out."""
    shape = replace(SHAPE.policy, trunk=TRUNK)
    with torch.device("meta"):
        ours = WorldModel(shape).state_dict()
    pieces = to_published(ours, is_fused=False)
    generator = torch.Generator().manual_seed(0)
    planned = []
    for name, piece in pieces.items():
        rows, *rest = ours[piece.name].shape
        size = (rows if piece.third is None else rows // 3, *rest)
        make = lambda size=size: torch.rand(size, generator=generator)  # noqa: E731
        planned.append(Planned(name=name, shape=size, dtype=torch.float32, make=make))
    write_safetensors(tmp_path / "policy.safetensors", planned)
    save_file(autoencoder_tensors(), tmp_path / "a.safetensors")
    (tmp_path / "contract.json").write_text(json.dumps(contract_fields()))
    (tmp_path / "config.json").write_text(json.dumps(to_published_shape(shape)))

    done = subprocess.run([sys.executable, "-c", CONVERT, str(tmp_path)], capture_output=True, text=True, check=True)
    grown, written, num_samples = json.loads(done.stdout)
    assert num_samples == len(ours) + len(pieces) + len(autoencoder_tensors())
    assert written > 200 * MEGABYTE
    assert grown < written / 3, f"{grown / MEGABYTE:.0f} MB more for {written / MEGABYTE:.0f} MB"

    given, back = SafetensorsFile(tmp_path / "policy.safetensors"), SafetensorsFile(next((tmp_path / "back").glob("*.safetensors")))
    assert back.shapes == given.shapes
    for name in ("blocks.4.self_attn.k.weight", "action_head.head.bias", "time_projection.1.weight"):
        assert torch.equal(back.read(name), given.read(name))
