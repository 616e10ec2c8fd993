"""How many noises the consistency score needs, and whether they should come in opposite pairs.

    python benchmarks/score_noise.py [CHECKPOINT] --data data/demo [--windows 240]

At held-out windows, eight candidates are scored in several ways. Printed is how much nearer to the expert's chunk the best-scored
candidate is than a random one; "the nearest" is what no score can exceed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from tau0.checkpoint import load
from tau0.plan.score import redenoising_consistency
from tau0.policy.policy import VideoActionPolicy
from tau0.tensors import Conditioning
from tau0.train.held_out import held_out_source
from tau0.train.ingredients import dataset_mixture
from tau0.views import views_to_canvas

SHIPPED = Path(__file__).parents[1] / "src" / "tau0" / "checkpoints" / "nano-metaworld"
SIGMA, CANDIDATES, MOST_NOISES = 0.6, 8, 8


@torch.inference_mode()
def main(folder: Path, data: Path, windows: int, seed: int) -> None:
    """Scores and prints one line a way of scoring."""
    torch.set_num_threads(1)
    checkpoint = load(folder)
    mixture = dataset_mixture(data, checkpoint.config.embodiment, checkpoint.config.sampling.num_future)
    source, policy = held_out_source(checkpoint, mixture), VideoActionPolicy(checkpoint)
    rows = np.random.default_rng(seed).permutation(source.whole_windows(checkpoint.config.codec))[:windows]
    errors, scores = [], []
    for i, row in enumerate(np.sort(rows)):
        generator = torch.Generator().manual_seed(i)
        batch = source.gather(np.array([row]))
        canvas, clean = views_to_canvas(batch.latents), checkpoint.config.sampling.num_memory
        current = Conditioning(current=canvas[:, :, clean : clean + 1], memory=canvas[:, :, :clean], text=batch.text, state=batch.state)
        proposals = policy.propose(current, CANDIDATES, generator)
        errors.append((proposals.actions - batch.target_actions).square().mean(dim=(1, 2)))
        noises = torch.randn(MOST_NOISES, *proposals.actions.shape[1:], generator=generator)
        velocity = policy.velocity(proposals)
        signed = [redenoising_consistency(velocity, proposals.actions, sign * eps[None], (SIGMA,)) for eps in noises for sign in (1, -1)]
        scores.append(torch.stack(signed).unflatten(0, (MOST_NOISES, 2)))
    _show(torch.stack(errors), torch.stack(scores))


def _show(errors: Tensor, scores: Tensor) -> None:
    """Errors (windows, n); scores (windows, noises, 2 signs, n)."""
    ways = {f"{n} independent": scores[:, :n, 0].mean(dim=1) for n in (1, 2, 4, 8)}
    ways |= {f"{2 * n} in opposite pairs": scores[:, :n].mean(dim=(1, 2)) for n in (1, 2)}
    console = Console()
    for name, score in {**ways, "the nearest": -errors}.items():
        chosen = errors.gather(1, score.argmax(dim=1, keepdim=True))
        console.print(f"{name}: {1 - float(chosen.mean() / errors.mean()):.1%} nearer", highlight=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    main(given.checkpoint, given.data, given.windows, given.seed)
