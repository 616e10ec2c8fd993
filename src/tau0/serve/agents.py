"""The model behind the server: agents that decide, one for each connection, and the simulator for those who only ask."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Protocol, cast, get_args

import numpy as np
import torch

from tau0.checkpoint import Checkpoint
from tau0.contract import Decision, Float, Observation
from tau0.encode import ObservationEncoder, executable_actions, latents_to_frames
from tau0.plan.agent import AS_CALIBRATED, PlanningAgent, Search
from tau0.plan.gate import other_number
from tau0.plan.selectors import Mode
from tau0.serve.answers import Outlook
from tau0.serve.limits import ServeLimits
from tau0.serve.logs import event
from tau0.serve.metadata import Metadata
from tau0.serve.protocol import PlannerChoice, RefusedError
from tau0.simulate.simulator import ActionConditionedSimulator
from tau0.worlds.registry import limits_of

MAX_IDLE = 8


class Agent(Protocol):
    """What decides for one robot."""

    def reset(self, seed: int) -> None:
        """Forgets the last episode. Every random number of the next one follows from `seed`."""
        ...

    def decide(self, observation: Observation) -> Decision:
        """What to do now, and why."""
        ...


class Agents:
    """Makes agents of one checkpoint. They share its weights and nothing else: what a robot has seen stays in its own agent.

    All methods but `metadata` and `put_back` are for the thread that owns the model.
    """

    def __init__(self, checkpoint: Checkpoint, planner: PlannerChoice, shows_frames: bool = False) -> None:
        """An agent for `planner` is made at once, so that what cannot be served is known before anybody connects.

        Args:
            checkpoint: Networks, codec, gate, contract.
            planner: How chunks are chosen unless a connection says otherwise.
            shows_frames: Whether decisions hold imagined futures as pictures.

        Raises:
            CheckpointError: The checkpoint cannot be used in this way.
        """
        self._checkpoint, self._planner, self._shows_frames = checkpoint, planner, shows_frames
        self._idle: list[tuple[PlannerChoice, Agent]] = []
        self._simulator: ActionConditionedSimulator | None = None
        self.put_back(planner, self.take(planner))

    def metadata(self, limits: ServeLimits, records: bool) -> Metadata:
        """What clients are told first."""
        config = self._checkpoint.config
        return Metadata(
            checkpoint=config.name,
            fingerprint=self._checkpoint.fingerprint,
            embodiment=config.embodiment,
            safety=config.safety or limits_of(config.embodiment),
            planner=self._planner,
            modes=get_args(Mode),
            execute_steps=min(config.sampling.execute_steps, config.embodiment.action_horizon),
            max_candidates=limits.max_candidates,
            max_message_bytes=limits.max_message_bytes,
            records=records,
        )

    def take(self, choice: PlannerChoice) -> Agent:
        """An agent that knows of no episode; one with a budget measures its stages first, unless one that did is idle.

        The log says where its gate was chosen for another number of candidates.

        Raises:
            CheckpointError: The checkpoint cannot plan in this mode.
        """
        for number, (known, agent) in enumerate(self._idle):
            if known == choice:
                del self._idle[number]
                return agent
        mode = cast(Mode, choice.mode)
        if (note := other_number(self._checkpoint.config.gate, mode, choice.candidates, None)) is not None:
            event(note, logging.WARNING, mode=mode)
        search = AS_CALIBRATED if choice.guidance is None else Search(guidance=choice.guidance)
        return PlanningAgent(self._checkpoint, mode, choice.candidates, self._shows_frames, budget_ms=choice.budget_ms, search=search)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Decides once, so that the first robot does not wait for what is only done once."""
        config, agent = self._checkpoint.config, self.take(self._planner)
        state = np.asarray(config.codec.state.mean, np.float32)
        agent.decide(replace(Observation.fake(config.embodiment), state=state))
        self.put_back(self._planner, agent)

    def put_back(self, choice: PlannerChoice, agent: Agent) -> None:
        """Makes an agent free for another robot. Its episode is over and forgotten."""
        agent.reset(0)
        if len(self._idle) < MAX_IDLE:
            self._idle.append((choice, agent))

    @torch.inference_mode()
    def imagine(self, observation: Observation, actions: Float, wants_frames: bool) -> Outlook:
        """What would come of the chunks `actions`, robot units, shape (n, ha, da), from an observation without a past.

        Raises:
            RefusedError: The checkpoint has no simulator.
            ContractError, ActionError: The observation does not fit the robot.
        """
        started, config = time.perf_counter(), self._checkpoint.config
        simulator = config.model if config.simulator is None else config.simulator
        if simulator.conditioning is None or simulator.progress is None:
            raise RefusedError("unavailable", f"{config.name!r} has no simulator and cannot imagine")
        self._simulator = self._simulator or ActionConditionedSimulator(self._checkpoint)
        conditioning = ObservationEncoder(self._checkpoint).encode(observation)
        codec, state = config.codec, torch.from_numpy(observation.state).float()
        chunks = codec.encode(torch.from_numpy(actions).float(), state.expand(len(actions), -1))
        executed = executable_actions(config, chunks.to(conditioning.current.device), state)
        futures = self._simulator.imagine(conditioning, executed, torch.Generator().manual_seed(0))
        frames = latents_to_frames(self._checkpoint, futures.latents, conditioning.current) if wants_frames else None
        return Outlook(progress=futures.progress.cpu().numpy(), frames=frames, milliseconds=1000 * (time.perf_counter() - started))
