"""Several evaluations side by side: the same episodes, or no comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tau0.evaluate.records import EpisodeRecord, RecordsError

Records = Sequence[EpisodeRecord]
_Episode = tuple[str, int, str | None]


def side_by_side(runs: Mapping[str, Records]) -> dict[str, list[EpisodeRecord]]:
    """By mode, the records of all runs, labelled with the run's name, so that the first run is what a table compares against.

    Args:
        runs: Name to records, two at least. All must have run the same modes on the same episodes (task, seed, instruction) with as many
            steps allowed; one checkpoint and one set of settings in each mode.

    Raises:
        RecordsError: They do not match. The message names the runs and what differs.
    """
    if len(runs) < 2:
        raise RecordsError(f"a comparison needs two runs, got {len(runs)}")
    (first, reference), *others = runs.items()
    for name, records in runs.items():
        _check_one(name, records)
    for name, records in others:
        _check_pair(first, reference, name, records)
    return {
        mode: [replace(r, result=replace(r.result, mode=name)) for name, records in runs.items() for r in records if r.result.mode == mode]
        for mode in dict.fromkeys(record.result.mode for record in reference)
    }


def _check_one(name: str, records: Records) -> None:
    """Raises `RecordsError` where a run mixes checkpoints or settings: its rate would be nobody's."""
    if not records:
        raise RecordsError(f"{name} holds no episodes")
    for mode in sorted({record.result.mode for record in records}):
        own = [record for record in records if record.result.mode == mode]
        for field in ("fingerprint", "max_steps"):
            if len(values := sorted({str(getattr(record, field)) for record in own})) > 1:
                raise RecordsError(f"{name} mixes episodes of mode {mode} with different {field}: {' and '.join(values[:2])}")


def _check_pair(first: str, reference: Records, other: str, records: Records) -> None:
    for what, a, b in (
        ("mode", {r.result.mode for r in reference}, {r.result.mode for r in records}),
        ("number of steps allowed", {r.max_steps for r in reference}, {r.max_steps for r in records}),
    ):
        if a != b:
            raise RecordsError(f"{first} and {other} do not match: {what} {_listed(a)} against {_listed(b)}")
    ours, theirs = _episodes(reference), _episodes(records)
    for owner, lacking, missing, total in ((first, other, ours - theirs, len(ours)), (other, first, theirs - ours, len(theirs))):
        if missing:
            mode, (task, seed, words) = min(missing, key=repr)
            said = "" if words is None else f", instruction {words!r}"
            raise RecordsError(
                f"{first} and {other} do not match: {len(missing)} of {owner}'s {total} episodes are not in {lacking}, such as {task}, "
                f"seed {seed}{said}, mode {mode}; complete both with the same seeds"
            )


def _episodes(records: Records) -> set[tuple[str, _Episode]]:
    return {(r.result.mode, (r.result.task, r.result.seed, r.requested_instruction)) for r in records}


def _listed(values: set[str] | set[int]) -> str:
    return ", ".join(sorted(map(str, values)))
