"""What the stages of a query take on this machine, measured before the first one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from tau0.checkpoint import Checkpoint, GateConfig
from tau0.contract import Observation
from tau0.encode import ObservationEncoder
from tau0.plan.budget import StageCost, Stopwatch, Timings
from tau0.plan.score import redenoising_consistency, shared_noise
from tau0.policy.policy import Policy
from tau0.simulate.simulator import Simulator
from tau0.tensors import Conditioning

REPEATS = 3
"""Of every measurement the slowest counts: a budget that is met half of the time is none. One more comes before, to warm up."""


@torch.inference_mode()
def measure_timings(
    policy: Policy,
    simulator: Simulator | None,
    conditioning: Conditioning,
    gate: GateConfig,
    num_candidates: int,
    action_steps: int,
    simulator_steps: int,
    stopwatch: Callable[[], Stopwatch] = Stopwatch,
) -> Timings:
    """The costs of proposing, scoring and simulating, each from runs with one candidate and with all, in one step and in all.

    Args:
        policy: Proposes and scores.
        simulator: Imagines; None where nothing is simulated, and then that costs nothing.
        conditioning: An observation like those to come, its memory full.
        gate: How scores are taken.
        num_candidates: The most that will be asked for.
        action_steps: Usual solver steps of the policy.
        simulator_steps: Usual solver steps of the simulator.
        stopwatch: Makes a running watch.
    """
    generator = torch.Generator().manual_seed(0)

    def slowest(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(1 + REPEATS):
            watch = stopwatch()
            work()
            taken.append(watch.elapsed_ms)
        return max(taken[1:])

    def cost(work: Callable[[int, int], object], steps: int) -> StageCost:
        one, few, many = (slowest(lambda n=n, s=s: work(n, s)) for n, s in ((1, steps), (1, 1), (num_candidates, steps)))
        return StageCost.fitted(one, few, many, num_candidates, steps)

    proposals = policy.propose(conditioning, num_candidates, generator)
    actions = proposals.actions
    levels = [sigma for sigma in gate.sigmas for _ in range(gate.num_noises)]
    noise = shared_noise(len(gate.sigmas), gate.num_noises, (actions.shape[1], actions.shape[2]), generator).to(actions)

    def score(n: int, steps: int) -> object:  # noqa: ARG001
        return redenoising_consistency(policy.velocity(proposals), actions[:n], noise, levels)

    simulate = StageCost()
    if simulator is not None:
        simulate = cost(lambda n, s: simulator.imagine(conditioning, actions[:n], generator, s), simulator_steps)
    return Timings(
        propose=cost(lambda n, s: policy.propose(conditioning, n, generator, num_steps=s), action_steps),
        score=cost(score, 1),
        simulate=simulate,
        action_steps=action_steps,
        simulator_steps=simulator_steps,
    )


@torch.inference_mode()
def typical_conditioning(checkpoint: Checkpoint) -> Conditioning:
    """A random picture with a mean state, remembered as often as the memory allows: as large as any query will be."""
    config = checkpoint.config
    state = np.asarray(config.codec.state.mean, np.float32)
    seen = ObservationEncoder(checkpoint).encode(replace(Observation.fake(config.embodiment), state=state))
    return replace(seen, memory=seen.current.expand(-1, -1, config.sampling.num_memory, -1, -1))
