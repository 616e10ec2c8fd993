"""`tau0 prove`: runs a published evaluation again, and says whether it comes out the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro
from rich.console import Console
from rich.table import Table

from tau0.cli.arguments import at_least, check_planning, check_search, choose_modes, choose_seeds, choose_tasks
from tau0.cli.bars import Bars
from tau0.cli.evaluate import STILL_BELOW, ClosedLoop, list_episodes
from tau0.cli.folders import writable_file
from tau0.cli.shipped import find_checkpoint

if TYPE_CHECKING:
    from tau0.evaluate.proof import Proof, Verdict
    from tau0.evaluate.records import EpisodeRecord
    from tau0.evaluate.runner import Episode

SETTINGS = Path("docs/results/prove.toml")
DIFFERS = 1


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Run a published evaluation again, episode by episode, and compare it with the episodes that were published.

    Says how long it will take, from decisions that it times first. Ctrl-C keeps finished episodes, and the same command goes on. The status
    is 1 when a mode comes out otherwise than published: when McNemar's exact test tells them apart at 0.05.

    Attributes:
        settings: Says which checkpoint, tasks, seeds and modes, and where the published episodes are.
        out: Results, one JSON line an episode. A file that holds some already is completed.
        workers: Processes, each with one thread.
    """

    settings: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SETTINGS.toml")] = SETTINGS
    out: Path = Path("runs/prove.jsonl")
    workers: int = 2

    stopped: ClassVar[str] = "Stopped. Finished episodes are kept; the same command goes on."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Times, runs what is missing in `out`, and prints the tables."""
        from tau0.evaluate.proof import published_episodes, read_proof, verdicts
        from tau0.evaluate.table import success_table, summarize

        proof = read_proof(self.settings)
        modes, tasks = choose_modes(proof.modes), choose_tasks(proof.suite, proof.tasks)
        at_least(1, candidates=proof.candidates, futures=proof.futures, workers=self.workers, max_steps=proof.max_steps)
        at_least(1, execute_steps=proof.execute_steps)
        check_planning(proof.gate_threshold, None)
        check_search(proof.noise_scale, proof.score_sigmas, proof.score_noises, proof.score_error, _still_below(proof))
        episodes = list_episodes(tasks, choose_seeds(proof.first_seed, proof.episodes), "training")
        committed = published_episodes(proof, episodes)
        writable_file(self.out)
        loop = self._loop(proof, modes)
        with Bars(console) as bars:
            self._announce(loop, episodes, committed, bars)
            records = loop.run(episodes, self.out, bars, "prove")
        console.print(success_table(summarize(records), f"{proof.checkpoint}, here"))
        found = verdicts(committed, records)
        console.print(verdict_table(found))
        return DIFFERS if any(one.differs for one in found) else 0

    def _loop(self, proof: Proof, modes: tuple[str, ...]) -> ClosedLoop:
        return ClosedLoop(
            checkpoint=find_checkpoint(proof.checkpoint),
            modes=modes,
            candidates=proof.candidates,
            workers=self.workers,
            max_steps=proof.max_steps,
            gate_threshold=proof.gate_threshold,
            noise_scale=proof.noise_scale,
            score_sigmas=proof.score_sigmas,
            score_noises=proof.score_noises,
            score_error=proof.score_error,
            still_below=_still_below(proof),
            futures=proof.futures,
            execute_steps=proof.execute_steps,
        )

    def _announce(self, loop: ClosedLoop, episodes: Sequence[Episode], committed: Sequence[EpisodeRecord], bars: Bars) -> None:
        """Says how many episodes are missing, and how long they will take."""
        from tau0.checkpoint import load
        from tau0.evaluate.forecast import forecast_s, measure_pace, needs
        from tau0.evaluate.records import read_records
        from tau0.worlds.registry import make_world

        finished = {record.key for record in read_records(self.out)} if self.out.is_file() else set()
        ran = {(key.mode, key.task, key.seed) for key in finished}
        todo = {mode: [one for one in episodes if (mode, one.task, one.seed) not in ran] for mode in loop.modes}
        num, total = sum(map(len, todo.values())), len(episodes) * len(loop.modes)
        if num == 0:
            bars.say(f"{self.out} holds all {total} episodes")
            return
        bars.say(f"timing a few decisions of {', '.join(mode for mode in todo if todo[mode])} ...")
        steps = loop.execute_steps or load(loop.checkpoint).config.sampling.execute_steps
        tasks = list(dict.fromkeys(episode.task for episode in episodes))
        paces, needed = {}, {}
        for mode in (mode for mode in todo if todo[mode]):
            gated = mode in ("full", "unrevised")
            ends = [replace(loop, gate_threshold=threshold) for threshold in (-inf, inf)] if gated else [loop]
            sources: list[Any] = [one.spec(mode) for one in ends]
            paces[mode] = measure_pace(sources[0], sources[-1], make_world, todo[mode][0].task, loop.max_steps)
            needed[mode] = needs(committed, steps, loop.max_steps, tasks, mode)
        seconds = forecast_s(todo, paces, needed, self.workers)
        bars.say(
            f"{num} of {total} episodes are to be run, {spoken(seconds)} on this machine as busy as it is now, {self.workers} "
            f"processes; Ctrl-C keeps what is finished"
        )


def _still_below(proof: Proof) -> float:
    return STILL_BELOW if proof.still_below is None else proof.still_below


def spoken(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 5:
        return "a few seconds"
    return f"about {round(seconds)} seconds" if seconds < 90 else f"about {round(seconds / 60)} minutes"


def verdict_table(found: Sequence[Verdict]) -> Table:
    """By mode: published, here, and whether they are the same."""
    from tau0.evaluate.points import points_text

    caption = (
        "Same seeds and noise; what differs in the last digit of a number may still decide an episode. Intervals are 95%; p is McNemar's "
        "exact test, two-sided."
    )
    table = Table(title="here beside what was published", caption=caption)
    for name in ("mode", "published", "here", "same outcome", "here minus published", "p", "verdict"):
        table.add_column(name, justify="left" if name in ("mode", "verdict") else "right")
    for one in found:
        against = one.here.against_first
        assert against is not None
        agent = "" if one.same_agent else ", of other weights or settings"
        table.add_row(
            one.mode,
            f"{one.committed.pooled.successes}/{one.committed.pooled.trials}",
            f"{one.here.pooled.successes}/{one.here.pooled.trials}",
            f"{one.same}/{against.pairs}",
            points_text(against.difference),
            f"{against.p_value:.2g}",
            ("DIFFERS" if one.differs else "reproduced") + agent,
        )
    return table
