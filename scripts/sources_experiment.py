"""What does data without action labels add? Three models at equal steps, from ever more of the same collection.

    tau0 collect --out data/demo --suite demo --demonstrations 120 --failures 40 --branch-groups 50
    python scripts/sources_experiment.py --data data/demo --out runs/sources

- few: ten demonstrations a task, which supervise everything.
- video: the same, and the pictures alone of all other demonstrations.
- failures: the same as few, and failures, which supervise pictures and progress, their actions being the simulator's input alone.

Every arm takes the same number of steps of the same batch sizes, with the same autoencoder and seed. All are evaluated on the same
initial states with the same noise. Whatever is finished is skipped: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tau0.data.descriptions import PRESETS
from tau0.worlds.metaworld import EMBODIMENT

ARMS = ("few", "video", "failures")
FEW = 10
OTHER_WEIGHT = 0.5
"""Of the added source, next to 1 for the labelled ten: a third of the samples of the streams that it may go to."""


def mixture(arm: str, data: Path) -> dict[str, Any]:
    """What the arm is trained on, as `tau0 train --data` reads it."""
    labelled = PRESETS["metaworld"]
    pictures = replace(labelled, name="pictures alone", action={}, advice={}, progress=None, success=None, supervises={"video": 1.0})
    failed = replace(labelled, name="failures", kind="rollout", supervises={"video": 1.0, "dynamics": 1.0, "progress": 1.0})
    sources = [_source(data, "metaworld", 1.0, "demonstration", (0, FEW))]
    if arm == "video":
        sources.append(_source(data, asdict(pictures), OTHER_WEIGHT, "demonstration", (FEW, 10_000)))
    if arm == "failures":
        sources.append(_source(data, asdict(failed), OTHER_WEIGHT, "failure", (0, 10_000)))
    return {
        "layout": "metaworld",
        "rate_hz": EMBODIMENT.control_hz,
        "cameras": [asdict(camera) for camera in EMBODIMENT.cameras],
        "action_horizon": EMBODIMENT.action_horizon,
        "frame_stride": EMBODIMENT.frame_stride,
        "weigh": "tempered",
        "temper": 0.0,
        "embodiment": asdict(EMBODIMENT),
        "sources": sources,
    }


def _source(data: Path, description: Any, weight: float, kind: str, per_task: tuple[int, int]) -> dict[str, Any]:
    return {
        "dataset": str(data.absolute()),
        "description": description,
        "weight": weight,
        "select": {"kinds": [kind], "per_task": list(per_task)},
    }


def main(given: argparse.Namespace) -> None:
    """Trains and evaluates what is missing, and prints the tables."""
    given.out.mkdir(parents=True, exist_ok=True)
    for arm in ARMS:
        folder = given.out / arm
        folder.mkdir(exist_ok=True)
        (folder / "mixture.json").write_text(json.dumps(mixture(arm, given.data), indent=2) + "\n")
        _tau0(
            "train", "nano", "--data", folder / "mixture.json", "--out", folder, "--autoencoder", given.autoencoder,
            "--max-steps", given.steps, "--minutes", 100_000, "--workers", given.workers,
        )  # fmt: skip
        for mode in given.modes:
            _tau0(
                "evaluate", folder, "--episodes", given.episodes, "--modes", mode, "--workers", given.workers,
                "--out", folder / f"{mode}.jsonl",
            )  # fmt: skip
        if given.unseen is not None:
            _tau0("card", folder, "--data", given.unseen, "--unseen", "--out", folder / "card.json")
    for mode in given.modes:
        _tau0("compare", *(given.out / arm / f"{mode}.jsonl" for arm in ARMS), "--names", *ARMS)


def _tau0(*arguments: object) -> None:
    """Runs one command of tau0; ends this program where it fails."""
    status = subprocess.run([sys.executable, "-m", "tau0", *map(str, arguments)], check=False).returncode
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    shipped = Path(__file__).parents[1] / "src" / "tau0" / "checkpoints" / "nano-metaworld"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="what `tau0 collect` wrote")
    parser.add_argument("--unseen", type=Path, help="another collection, on which the simulators are measured")
    parser.add_argument("--out", type=Path, default=Path("runs/sources"))
    parser.add_argument("--autoencoder", type=Path, default=shipped, help="a checkpoint or a run whose autoencoder all arms use")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--episodes", type=int, default=30, help="initial states a task")
    parser.add_argument("--modes", nargs="+", default=["single", "full"])
    parser.add_argument("--workers", type=int, default=2)
    main(parser.parse_args())
