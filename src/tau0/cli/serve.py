"""`tau0 serve`: a checkpoint behind a socket, for robots and for openpi's clients."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro
from rich.console import Console

from tau0.cli.arguments import MODES, UsageError, at_least, check_guidance, check_planning, choose
from tau0.cli.folders import writable_folder
from tau0.cli.shipped import SHIPPED, find_checkpoint

if TYPE_CHECKING:
    from tau0.serve.access import Access

TOKEN_VARIABLE = "TAU0_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a checkpoint to robots: websocket and msgpack, the protocol of openpi's clients, closed to strangers by default.

    The same port answers /healthz, /readyz and /metrics, and / is a live page for people. The token is never an argument, which other users
    of the machine could read: it is in a file, or in the variable TAU0_TOKEN. SIGTERM and Ctrl-C let what was begun end.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run, or the word shipped.
        host: Address to listen at. Any but this machine's own needs a token, or --insecure-no-token.
        port: Port; 0 takes one that is free.
        token_file: File whose only line is the token that clients have to know, at least 16 characters.
        certificate: TLS certificate chain, a PEM file. Needs --key.
        key: The certificate's private key, a PEM file.
        insecure_no_token: Whoever reaches the address may drive the robot.
        mode: How chunks are chosen unless a connection says otherwise.
        candidates: Chunks drawn at each decision, unless a connection says otherwise.
        budget_ms: Time of one decision, unless a connection says otherwise. No limit unless given.
        guidance: How strongly a chunk continues what a robot executes, unless a connection says otherwise; the published 5 unless given.
        show_futures: Show imagined futures as pictures on the live page. Decoding them takes time in every decision that simulates.
        record: Folder that gets what robots report, as LeRobot v3.0 datasets. Nothing is kept unless given.
        max_connections: Robots at once.
        max_waiting: Queries that wait for the model at once; one more is refused.
        threads: Processor cores for the model; torch's own choice unless given.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")] = SHIPPED
    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    certificate: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    key: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    insecure_no_token: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    mode: str = "full"
    candidates: int = 8
    budget_ms: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    show_futures: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    record: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    max_connections: int = 64
    max_waiting: int = 64
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None

    stopped: ClassVar[str] = "Stopped. What was recorded is kept."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Loads, listens, and serves until it is told to end."""
        mode = choose("mode", self.mode, MODES)
        at_least(1, candidates=self.candidates, max_connections=self.max_connections, max_waiting=self.max_waiting, threads=self.threads)
        check_planning(None, self.budget_ms)
        check_guidance(self.guidance)
        folder = find_checkpoint(self.checkpoint)
        access = self._access()
        if self.record is not None:
            writable_folder(self.record)

        import torch

        from tau0.checkpoint import load
        from tau0.serve.agents import Agents
        from tau0.serve.limits import ServeLimits
        from tau0.serve.logs import configure_logs
        from tau0.serve.protocol import PlannerChoice
        from tau0.serve.recorder import Recorder
        from tau0.serve.run import run_server
        from tau0.serve.service import Service

        configure_logs()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        checkpoint = load(folder)
        planner = PlannerChoice(mode=mode, candidates=self.candidates, budget_ms=self.budget_ms, guidance=self.guidance)
        agents = Agents(checkpoint, planner, self.show_futures)
        agents.warm_up()
        robot = checkpoint.config.embodiment
        limits = replace(
            ServeLimits.of(robot),
            max_connections=self.max_connections,
            max_waiting=self.max_waiting,
            max_candidates=max(64, self.candidates),
        )
        recorder = None if self.record is None else Recorder(self.record, robot)

        def listening(address: str) -> None:
            console.print(f"{checkpoint.config.name} for {robot.name} at {address}", markup=False, highlight=False, soft_wrap=True)

        run_server(Service.of(agents, limits, recorder), access, listening)
        return 0

    def _access(self) -> Access:
        """Where and to whom. Raises `UsageError` for a token that cannot be read, `AccessError` for what would let strangers in."""
        from tau0.serve.access import Access

        token = os.environ.get(TOKEN_VARIABLE) or None
        if self.token_file is not None:
            token = self.token_file.read_text("utf-8").strip()
            if not token:
                raise UsageError(f"{self.token_file} is empty; its only line must be the token")
        return Access(
            host=self.host,
            port=self.port,
            token=token,
            certificate=self.certificate,
            key=self.key,
            is_open=self.insecure_no_token,
        )
