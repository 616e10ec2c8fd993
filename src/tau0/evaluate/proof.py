"""An evaluation that is published with its episodes, and how anyone runs it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic

from tau0.checkpoint import ScoreError
from tau0.evaluate.compare import side_by_side
from tau0.evaluate.one_evaluation import check_one_evaluation
from tau0.evaluate.records import EpisodeRecord, RecordsError, read_records
from tau0.evaluate.settings_file import STRICT, read_settings
from tau0.evaluate.table import ModeSummary, summarize
from tau0.evaluate.workers import Episode

ALPHA = 0.05
COMMITTED, HERE = "committed", "here"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a settings file such as docs/results/prove.toml says. All but `committed` is named as in `tau0 evaluate`.

    Attributes:
        committed: The published episodes, relative to the settings file.
        checkpoint: Folder of a checkpoint, or the word shipped.
        suite: Which tasks.
        tasks: Instead of those of the suite.
        episodes: Initial states for each task.
        first_seed: Of the first one.
        modes: The first is what the others are compared with.
        candidates: Plans drawn at each decision.
        max_steps: Control steps after which an episode has failed.
        futures: Most plans of a round that are simulated; all unless given.
        noise_scale: Of the noise that all plans but the first start from.
        score_sigmas: Noise levels of the score; the checkpoint's unless given.
        score_noises: Noises per level; the checkpoint's unless given.
        score_error: Absolute or relative; the checkpoint's unless given.
        gate_threshold: Instead of the checkpoint's.
        still_below: Share of the median plan's motion below which a plan cannot win; the planner's own unless given.
        execute_steps: Most steps of a plan before the next; the checkpoint's unless given.
    """

    __pydantic_config__ = STRICT
    committed: Path
    modes: tuple[str, ...]
    checkpoint: str = "shipped"
    suite: str = "demo"
    tasks: tuple[str, ...] = ()
    episodes: int = 40
    first_seed: int = 0
    candidates: int = 8
    max_steps: int = 300
    futures: int | None = None
    noise_scale: float = 1.0
    score_sigmas: tuple[float, ...] = ()
    score_noises: int | None = None
    score_error: ScoreError | None = None
    gate_threshold: float | None = None
    still_below: float | None = None
    execute_steps: int | None = None


_PROOF = pydantic.TypeAdapter(Proof)


def read_proof(path: Path) -> Proof:
    """What the settings file says, `committed` as a path from here. Raises `RecordsError` when it is not such a file."""
    proof = read_settings(path, _PROOF)
    return replace(proof, committed=path.parent / proof.committed)


def published_episodes(proof: Proof, episodes: Sequence[Episode]) -> list[EpisodeRecord]:
    """The published records of these episodes in the modes of the proof; the file may hold others.

    Raises:
        RecordsError: The file is not there or lacks an episode, or it holds one with other words, another number of steps, or of another
            agent than the rest.
    """
    path = proof.committed
    if not path.is_file():
        raise RecordsError(f"{path} is not there; `committed` should name the episodes that were published")
    initial = {(episode.task, episode.seed) for episode in episodes}
    records = [r for r in read_records(path) if r.result.mode in proof.modes and (r.result.task, r.result.seed) in initial]
    held = {(r.result.mode, r.result.task, r.result.seed, r.requested_instruction) for r in records}
    wanted = {(mode, episode.task, episode.seed, episode.instruction) for mode in proof.modes for episode in episodes}
    for keys, said in ((wanted - held, "lacks"), (held - wanted, "also holds, in other words,")):
        if keys:
            mode, task, seed, _ = min(keys, key=repr)
            raise RecordsError(
                f"{path} {said} {len(keys)} of {len(wanted)} episodes that are to be proven, such as {task}, seed {seed}, {mode}"
            )
    if others := sorted({record.max_steps for record in records} - {proof.max_steps}):
        raise RecordsError(f"{path} holds episodes of at most {others[0]} steps, the settings allow {proof.max_steps}")
    check_one_evaluation(records)
    return records


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One mode, run again.

    Attributes:
        mode: Its name.
        committed: The published episodes.
        here: The same episodes, run again.
        same: Episodes with the same outcome in both.
        same_agent: Whether checkpoint and settings are the published ones, by their fingerprint.
        differs: Whether McNemar's exact test tells the two apart, at `ALPHA`.
    """

    mode: str
    committed: ModeSummary
    here: ModeSummary
    same: int
    same_agent: bool
    differs: bool


def verdicts(committed: Sequence[EpisodeRecord], here: Sequence[EpisodeRecord]) -> list[Verdict]:
    """By mode, whether what was run here is what was published.

    Args:
        committed: May hold further modes.
        here: Every mode that was run again.

    Raises:
        RecordsError: These are not the same episodes.
    """
    modes = list(dict.fromkeys(record.result.mode for record in here))
    published = [record for record in committed if record.result.mode in modes]
    if not published:
        raise RecordsError(f"there are no committed episodes of {', '.join(modes)}")
    by_mode = side_by_side({COMMITTED: published, HERE: here})
    return [_verdict(mode, by_mode[mode]) for mode in modes]


def _verdict(mode: str, records: Sequence[EpisodeRecord]) -> Verdict:
    before, after = summarize(records)
    assert after.against_first is not None
    against, prints = after.against_first, _fingerprints(records)
    return Verdict(
        mode=mode,
        committed=before,
        here=after,
        same=against.pairs - against.gained - against.lost,
        same_agent=prints[COMMITTED] == prints[HERE],
        differs=against.p_value < ALPHA,
    )


def _fingerprints(records: Sequence[EpisodeRecord]) -> Mapping[str, str]:
    """Of each run, of whose one mode these are."""
    return {record.result.mode: record.fingerprint for record in records}
