"""Selectors: which of several candidates is executed. One interface, so that all choose among the same proposals.

What a selector may know differs: nothing, the candidates themselves, the policy's opinion of them (the consistency score), or what the
simulator imagines. Oracles, which try candidates in the real physics, are no planners and live with the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from tau0.contract import Choice
from tau0.plan.noise import QueryNoise
from tau0.tensors import Futures, Proposals

Mode = Literal["single", "random", "medoid", "rcs", "progress", "unrevised", "full"]
"""Named after how they choose: the first sample (nothing else is drawn), a random one, the medoid, the most consistent, the one with the
highest simulated progress, the most consistent with simulation where the gate fails, and the same with a revision: the full loop."""

Actions = Float[Tensor, "n ha da"]


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of proposals and what was found out about them.

    Attributes:
        proposals: The candidates.
        scores: Their consistency; None where it was not asked for.
        futures: Of the candidates `imagined`, in that order; None where nothing was simulated.
        imagined: Indices of the candidates that were simulated.
        motion: How much each candidate moves the robot; None where nobody asked.
        is_moving: Which candidates may be chosen: not those that stand still among others that move (see `moving`).
    """

    proposals: Proposals
    scores: Float[Tensor, " n"] | None = None
    futures: Futures | None = None
    imagined: tuple[int, ...] = ()
    motion: Float[Tensor, " n"] | None = None
    is_moving: Bool[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.proposals.actions)

    def allowed(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The values, minus infinity for candidates that may not be chosen."""
        return values if self.is_moving is None else values.masked_fill(~self.is_moving.to(values.device), -torch.inf)


@dataclass(frozen=True, kw_only=True)
class Selector:
    """A rule, and what has to be found out before it can be asked.

    Attributes:
        choice: What its answer is called in a decision.
        choose: The index of a candidate, before anything is simulated. With `uses_scores` it is asked for a scored round.
        is_alone: One candidate is enough.
        uses_scores: Candidates are scored first.
        simulates: Candidates are simulated: never, at every query, or where the best score does not pass the gate.
        revises: A second round is drawn from the most promising future.
        is_guarded: A candidate that stands still cannot win.
    """

    choice: Choice
    choose: Callable[[Round, QueryNoise], int]
    is_alone: bool = False
    uses_scores: bool = False
    simulates: Literal["never", "always", "gate"] = "never"
    revises: bool = False
    is_guarded: bool = True


def first_sample(candidates: Round, noise: QueryNoise) -> int:  # noqa: ARG001
    """Index 0."""
    return 0


def random_sample(candidates: Round, noise: QueryNoise) -> int:
    """Any index, each as likely, by the query's own stream."""
    return int(torch.randint(len(candidates), (), generator=noise.stream("select")))


def medoid(candidates: Round, noise: QueryNoise) -> int:  # noqa: ARG001
    """The candidate in the middle: the least sum of distances to all others, in normalised action space."""
    flat = rearrange(candidates.proposals.actions, "n ha da -> n (ha da)")
    return best_index(candidates.allowed(-torch.cdist(flat, flat).sum(dim=1)))


def most_consistent(candidates: Round, noise: QueryNoise) -> int:  # noqa: ARG001
    """The candidate with the highest score."""
    assert candidates.scores is not None
    return best_index(candidates.allowed(candidates.scores))


SELECTORS: dict[Mode, Selector] = {
    "single": Selector(choice="single", choose=first_sample, is_alone=True, is_guarded=False),
    "random": Selector(choice="random", choose=random_sample, is_guarded=False),
    "medoid": Selector(choice="medoid", choose=medoid),
    "rcs": Selector(choice="rcs", choose=most_consistent, uses_scores=True),
    "progress": Selector(choice="single", choose=first_sample, simulates="always"),
    "unrevised": Selector(choice="rcs", choose=most_consistent, uses_scores=True, simulates="gate"),
    "full": Selector(choice="rcs", choose=most_consistent, uses_scores=True, simulates="gate", revises=True),
}


def moving(motion: Float[Tensor, " n"], still_below: float) -> Bool[Tensor, " n"]:
    """Which candidates do not stand still: their motion is at least `still_below` times the median of all.

    A policy agrees most easily with doing nothing, so a score of agreement must not compare chunks that move with chunks that do not.
    The measure is relative: where most candidates wait, waiting is what the policy wants, the median is small, and all may win. At
    least half of the candidates always may.

    Args:
        motion: Of what would be executed, in any unit, at least 0.
        still_below: In [0, 1]; 0 lets everything through.
    """
    return motion >= still_below * motion.median()


def most_promising(candidates: Round, margin: float = 0.0) -> tuple[int, float, int]:
    """The candidate whose progress rises highest (`J_i = max over steps`): its index, its J, and the step of its peak.

    Progress that differs by no more than `margin` is the same: of candidates that promise the same the more consistent one is taken (the
    first, where there are no scores), and the last of steps that are as high is the peak.
    """
    assert candidates.futures is not None
    rows, progress = list(candidates.imagined), candidates.futures.progress
    promises = _rankable(progress.amax(dim=1))
    scores = _rankable(progress.new_zeros(len(rows)) if candidates.scores is None else candidates.scores[rows])
    able = [candidates.is_moving is None or bool(candidates.is_moving[row]) for row in rows]
    open_to_choice = [k for k in range(len(rows)) if able[k]] or list(range(len(rows)))
    least = max(promises[k] for k in open_to_choice) - margin
    best = max((k for k in open_to_choice if promises[k] >= least), key=lambda k: (scores[k], promises[k]))
    as_high = progress[best] >= promises[best] - margin
    return rows[best], promises[best], int(as_high.nonzero().amax()) if as_high.any() else 0


def best_index(values: Float[Tensor, " n"]) -> int:
    """The index of the highest value, the first of equals. What is not a number is worse than anything."""
    ranks = _rankable(values)
    return ranks.index(max(ranks))


def ranked(values: Float[Tensor, " n"]) -> list[int]:
    """All indices, the highest value first, equals in order."""
    ranks = _rankable(values)
    return sorted(range(len(ranks)), key=lambda i: -ranks[i])


def _rankable(values: Float[Tensor, " n"]) -> list[float]:
    return values.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).tolist()
