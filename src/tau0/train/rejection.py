"""Samples that no network shall see: a state or an action far from everything else (SPEC.md section 5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from tau0.actions import ActionCodec
from tau0.data.aligned import AlignedSource
from tau0.data.parts import presence
from tau0.data.windows import Rows, Windows, WindowSpec
from tau0.train.samples import measure_present

CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class Rejections:
    """What the codec refuses.

    Attributes:
        rows: That no sample may begin at, ascending.
        counts: How many samples, by reason: "state", "action", "advice"; a sample may have several.
    """

    rows: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Mapping[str, int] = field(default_factory=dict)


def reject_outliers(codec: ActionCodec, aligned: AlignedSource, window: WindowSpec) -> Rejections:
    """The samples of a source that `codec` does not take, out of all of its rows."""
    windows, named = Windows(aligned.episodes, window), aligned.description
    has_state = torch.from_numpy(aligned.state_mask)
    chunks = {"action": (aligned.action, named.action)} | ({"advice": (aligned.advice, named.advice)} if named.advice else {})
    present = {name: torch.from_numpy(presence(parts, aligned.layout)) for name, (_, parts) in chunks.items()}
    rejected: list[Rows] = []
    counts = dict.fromkeys(("state", *chunks), 0)
    for first in range(0, aligned.num_rows, CHUNK):
        rows = np.arange(first, min(first + CHUNK, aligned.num_rows))
        steps, state = windows.resolve(rows).actions, torch.from_numpy(aligned.state[rows])
        accepted = {"state": codec.state.accepts(torch.where(has_state, state, state.new_tensor(codec.state.mean)))}
        for name, (column, _) in chunks.items():
            if bool(present[name].any()):
                measured = measure_present(codec, torch.from_numpy(column[steps]), state, present[name])
                accepted[name] = codec.action.accepts(measured).all(dim=-1)
        for reason, mask in accepted.items():
            counts[reason] += int((~mask).sum())
        rejected.append(rows[~torch.stack(list(accepted.values())).all(dim=0).numpy()])
    return Rejections(rows=np.concatenate(rejected), counts={reason: count for reason, count in counts.items() if count})


def kept_rejections(folder: Path, codec: ActionCodec, aligned: AlignedSource, window: WindowSpec) -> Rejections:
    """The same, from a file in `folder` where it was worked out before: going through long recordings takes its time."""
    about = f"{codec} {aligned.num_rows} {aligned.statistics} {aligned.description} {window}"
    path = folder / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
    try:
        known = json.loads(path.read_text())
        return Rejections(rows=np.array(known["rows"], np.int64), counts=dict(known["counts"]))
    except (OSError, ValueError, KeyError, TypeError):
        found = reject_outliers(codec, aligned, window)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": found.rows.tolist(), "counts": dict(found.counts)}) + "\n")
    return found
