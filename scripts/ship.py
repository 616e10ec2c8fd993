"""Puts a trained checkpoint into the package, with what it scored and a card.

    python scripts/ship.py runs/reproduce/train runs/reproduce/evaluation.jsonl [runs/reproduce/card.json]

The card is best made on data that had no part in training (`tau0 card RUN --data data/unseen --unseen`).
Scores go into the config, where `tau0 reproduce` and the demo find them.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tau0.checkpoint import Checkpoint, load, save
from tau0.cli.arguments import MODES
from tau0.cli.shipped import SCORES, count_scores
from tau0.evaluate.records import EpisodeRecord, read_records
from tau0.evaluate.simulator_results import SimulatorCard
from tau0.evaluate.simulator_table import simulator_markdown
from tau0.evaluate.table import success_markdown, summarize
from tau0.plan.spec import AgentSpec

HOME = Path("src/tau0/checkpoints/nano-metaworld")
LIMIT_BYTES = 20_000_000
MAX_STEPS = 300


def main(run: Path, evaluation: Path, card: Path | None) -> None:
    """Writes the shipped checkpoint and its card."""
    checkpoint = load(run / "checkpoint")
    records = [r for r in read_records(evaluation) if r.requested_instruction is None]
    records.sort(key=lambda record: MODES.index(record.result.mode))
    _check(records, run / "checkpoint")
    scores = json.dumps(count_scores(records))
    config = replace(checkpoint.config, name="nano-metaworld", provenance={**checkpoint.config.provenance, SCORES: scores})
    save(replace(checkpoint, config=config), HOME)
    autoencoder = (run / "autoencoder" / "report.json").read_text()
    simulator = "not measured" if card is None else simulator_markdown(SimulatorCard.from_json(card.read_bytes()))
    table = success_markdown(summarize(records))
    gate = "none" if config.gate is None else config.gate.chosen_by
    (HOME / "README.md").write_text(_card(_sizes(checkpoint), config.provenance, table, autoencoder, simulator, gate))
    if card is not None:
        shutil.copyfile(card, HOME / "card.json")
    size = sum(path.stat().st_size for path in HOME.iterdir())
    Console().print(f"{HOME}: {size / 1e6:.1f} MB")
    if size > LIMIT_BYTES:
        raise SystemExit(f"{HOME} is {size} bytes, the limit is {LIMIT_BYTES}")


def _check(records: list[EpisodeRecord], folder: Path) -> None:
    """Refuses scores of another checkpoint, or of other settings than the card states."""
    for mode in {record.result.mode for record in records}:
        expected = AgentSpec(checkpoint=folder, mode=mode).fingerprint  # pyright: ignore[reportArgumentType]
        if any(r.fingerprint != expected or r.max_steps != MAX_STEPS for r in records if r.result.mode == mode):
            raise SystemExit(f"the {mode!r} episodes were not run with {folder}, eight candidates and {MAX_STEPS} steps")


def _sizes(checkpoint: Checkpoint) -> str:
    model, autoencoder = (sum(p.numel() for p in net.parameters()) for net in (checkpoint.model, checkpoint.autoencoder))
    return f"{model:,} parameters and a video autoencoder of {autoencoder:,}"


def _card(sizes: str, provenance: dict[str, str], table: str, autoencoder: str, simulator: str, gate: str) -> str:
    facts = "\n".join(f"| {name} | {value} |" for name, value in provenance.items() if name != SCORES)
    return f"""# nano-metaworld

A world model of {sizes} for five Meta-World tasks: one trunk for policy and simulator, two
96 x 96 views, chunks of 17 actions at 80 Hz. Trained by this project on two CPU cores, on data that it collected itself.

## Recipe

| | |
|---|---|
{facts}

Data, autoencoder and recipe are those of `make reproduce`.
Collecting uses seeds from 1,000,000 up, evaluation those below.

## Closed loop

Unseen initial states, the same for all modes, {MAX_STEPS} steps an episode, eight candidates: `tau0 evaluate shipped`.

{table}

## Autoencoder

```json
{autoencoder.strip()}
```

## Simulator

On windows of episodes that were collected afterwards with another seed, `tau0 collect --out data/unseen --demonstrations 24 --failures 24
--branch-groups 12 --seed 1`, then `tau0 card shipped --data data/unseen --unseen --live 10`:

{simulator}

## Limits

Five tasks, one robot, one arrangement of cameras, rendered pictures with plain colours: it knows nothing else.
The gate: {gate}.
"""


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) == 4 else None)
